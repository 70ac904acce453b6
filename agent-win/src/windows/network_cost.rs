//! What the network costs, by `GetNetworkConnectivityHint`. Windows has it from 10 version 2004 on, so it's looked for
//! when it's needed; where it's missing, nobody knows.

#![allow(unsafe_code, reason = "calls of Windows")]

use std::sync::OnceLock;

use windows_sys::Win32::Foundation::NO_ERROR;
use windows_sys::Win32::Networking::WinSock::{
    NL_NETWORK_CONNECTIVITY_HINT, NetworkConnectivityCostHintFixed, NetworkConnectivityCostHintVariable,
};

use super::system_library::{Function, SystemLibrary};
use crate::guest::NetworkCost;

type Hint = unsafe extern "system" fn(*mut NL_NETWORK_CONNECTIVITY_HINT) -> u32;

/// What the network costs.
pub(crate) fn network_cost() -> NetworkCost {
    static HINT: OnceLock<Option<Hint>> = OnceLock::new();
    let Some(hint) = HINT.get_or_init(find) else { return NetworkCost::Flat };
    let mut told = NL_NETWORK_CONNECTIVITY_HINT::default();
    // SAFETY: the function is Windows' own, and `told` is what it writes to.
    match unsafe { hint(&raw mut told) } {
        NO_ERROR => cost(&told),
        _ => NetworkCost::Flat,
    }
}

fn cost(told: &NL_NETWORK_CONNECTIVITY_HINT) -> NetworkCost {
    let counted = [NetworkConnectivityCostHintFixed, NetworkConnectivityCostHintVariable];
    match counted.contains(&told.ConnectivityCost) || told.OverDataLimit || told.Roaming {
        true => NetworkCost::Metered,
        false => NetworkCost::Flat,
    }
}

fn find() -> Option<Hint> {
    let found = SystemLibrary::load("iphlpapi.dll")?.function(c"GetNetworkConnectivityHint")?;
    // SAFETY: the function of this name has taken one pointer and given a number since it came.
    Some(unsafe { std::mem::transmute::<Function, Hint>(found) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_metered_where_somebody_pays_or_roams() {
        let told = |cost, over, roaming| NL_NETWORK_CONNECTIVITY_HINT {
            ConnectivityCost: cost,
            OverDataLimit: over,
            Roaming: roaming,
            ..NL_NETWORK_CONNECTIVITY_HINT::default()
        };
        for (cost_hint, over, roaming, expected) in [
            (0, false, false, NetworkCost::Flat),
            (1, false, false, NetworkCost::Flat),
            (2, false, false, NetworkCost::Metered),
            (3, false, false, NetworkCost::Metered),
            (1, true, false, NetworkCost::Metered),
            (1, false, true, NetworkCost::Metered),
        ] {
            assert_eq!(cost(&told(cost_hint, over, roaming)), expected);
        }
    }
}
