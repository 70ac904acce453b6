//! The code a person types to enrol a computer or a branch: a secret, who may be told it, and a check.
//!
//! 80 bits of secret and 80 bits of pin are 32 characters of Crockford's base32; a 33rd makes the weighted sum
//! over GF(32) zero, so that any one wrong character and any two swapped neighbours are noticed.

use std::fmt;
use std::str::FromStr;

use coffer_format::FileHash;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use crate::{Authority, IdentityError, Pin};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SECRET_LEN: usize = 10;
const SYMBOLS: usize = 33;

/// A one-time code. As text: `XXXX-XXXX-...-X`, eight groups of four and the check. Reading it forgives case,
/// spaces and dashes, and takes O for 0 and I or L for 1.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentCode {
    /// Told to the server once, inside TLS; the server keeps only its [`secret_hash`].
    pub secret: [u8; SECRET_LEN],
    /// The authority that the server must prove before it's told the secret.
    pub pin: Pin,
}

/// What is wrong with a typed code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodeError {
    #[error("an enrolment code has {SYMBOLS} characters, this one has {found}: compare it with the original")]
    Length { found: usize },
    #[error("{found:?} doesn't occur in enrolment codes: compare that place with the original")]
    Character { found: char },
    #[error("the enrolment code is mistyped somewhere: compare it with the original, group by group")]
    Typo,
}

/// What a server keeps of a code's secret: its BLAKE3 hash.
pub fn secret_hash(secret: &[u8]) -> FileHash {
    FileHash(*blake3::hash(secret).as_bytes())
}

impl EnrolmentCode {
    /// A new random code for a server of this authority.
    pub fn new(authority: &Authority) -> Result<Self, IdentityError> {
        let mut secret = [0; SECRET_LEN];
        SystemRandom::new().fill(&mut secret).map_err(|_| IdentityError::NoRandomness)?;
        Ok(EnrolmentCode { secret, pin: authority.pin() })
    }

    fn symbols(&self) -> [u8; SYMBOLS] {
        let mut symbols = [0; SYMBOLS];
        let bytes = self.secret.iter().chain(&self.pin.0).copied().collect::<Vec<u8>>();
        for (group, out) in bytes.chunks_exact(5).zip(symbols.chunks_exact_mut(8)) {
            let bits = group.iter().fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
            for (at, symbol) in out.iter_mut().enumerate() {
                *symbol = (bits >> (35 - 5 * at)) as u8 & 31;
            }
        }
        // The last weight is 1, so the check symbol is the sum of the others.
        symbols[SYMBOLS - 1] = weighted_sum(&symbols);
        symbols
    }

    fn from_symbols(symbols: &[u8; SYMBOLS]) -> Self {
        let mut bytes = [0; SECRET_LEN + Pin::LEN];
        for (group, out) in symbols.chunks_exact(8).zip(bytes.chunks_exact_mut(5)) {
            let bits = group.iter().fold(0u64, |bits, symbol| bits << 5 | u64::from(*symbol));
            out.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        let (mut secret, mut pin) = ([0; SECRET_LEN], [0; Pin::LEN]);
        secret.copy_from_slice(&bytes[..SECRET_LEN]);
        pin.copy_from_slice(&bytes[SECRET_LEN..]);
        EnrolmentCode { secret, pin: Pin(pin) }
    }
}

impl fmt::Display for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, symbol) in self.symbols().iter().enumerate() {
            if at > 0 && at % 4 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(ALPHABET[usize::from(*symbol)]))?;
        }
        Ok(())
    }
}

/// Without the secret: codes end up in logs.
impl fmt::Debug for EnrolmentCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolmentCode(pin {})", self.pin)
    }
}

impl FromStr for EnrolmentCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let typed = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        let symbols = typed.map(symbol_of).collect::<Result<Vec<u8>, _>>()?;
        let symbols: [u8; SYMBOLS] =
            symbols.try_into().map_err(|wrong: Vec<u8>| CodeError::Length { found: wrong.len() })?;
        if weighted_sum(&symbols) != 0 {
            return Err(CodeError::Typo);
        }
        Ok(Self::from_symbols(&symbols))
    }
}

fn symbol_of(typed: char) -> Result<u8, CodeError> {
    let meant = match typed.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let place = ALPHABET.iter().position(|known| char::from(*known) == meant);
    place.map(|at| at as u8).ok_or(CodeError::Character { found: typed })
}

/// Horner's rule over GF(32) (x^5 + x^2 + 1), where x generates all 31 nonzero elements: each symbol weighs a
/// power of x, and neighbours never weigh the same.
fn weighted_sum(symbols: &[u8; SYMBOLS]) -> u8 {
    symbols.iter().fold(0, |sum, symbol| times_x(sum) ^ symbol)
}

fn times_x(element: u8) -> u8 {
    let shifted = element << 1;
    if shifted & 32 != 0 { shifted ^ 0b10_0101 } else { shifted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> EnrolmentCode {
        EnrolmentCode {
            secret: [0, 1, 2, 3, 250, 5, 6, 7, 8, 255],
            pin: Pin([9, 90, 200, 1, 0, 0, 7, 3, 99, 31]),
        }
    }

    #[test]
    fn a_code_reads_back_from_its_text() {
        let text = code().to_string();
        assert_eq!(text.len(), 33 + 8);
        assert_eq!(text.parse::<EnrolmentCode>().unwrap(), code());
    }

    #[test]
    fn case_spaces_and_lookalikes_are_forgiven() {
        let text = code().to_string();
        let sloppy =
            format!(" {} ", text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l"));
        assert_eq!(sloppy.parse::<EnrolmentCode>().unwrap(), code());
        assert_eq!(text.replace('-', "").replace('1', "I").parse::<EnrolmentCode>().unwrap(), code());
    }

    #[test]
    fn every_single_wrong_character_is_noticed() {
        let symbols = code().symbols();
        for at in 0..SYMBOLS {
            for other in (0..32).filter(|other| *other != symbols[at]) {
                let mut wrong = symbols;
                wrong[at] = other;
                assert_ne!(weighted_sum(&wrong), 0);
            }
        }
    }

    #[test]
    fn every_swap_of_neighbours_is_noticed() {
        let symbols = code().symbols();
        for at in (0..SYMBOLS - 1).filter(|at| symbols[*at] != symbols[at + 1]) {
            let mut wrong = symbols;
            wrong.swap(at, at + 1);
            assert_ne!(weighted_sum(&wrong), 0);
        }
    }

    #[test]
    fn errors_say_what_to_compare() {
        let text = code().to_string();
        assert_eq!(text[..text.len() - 1].parse::<EnrolmentCode>(), Err(CodeError::Length { found: 32 }));
        assert_eq!(
            text.replacen('0', "U", 1).parse::<EnrolmentCode>(),
            Err(CodeError::Character { found: 'U' })
        );
        assert_eq!(text.replacen('0', "2", 1).parse::<EnrolmentCode>(), Err(CodeError::Typo));
        assert!(CodeError::Typo.to_string().contains("group by group"));
    }

    #[test]
    fn the_secret_stays_out_of_logs() {
        assert_eq!(format!("{:?}", code()), "EnrolmentCode(pin 095ac80100000703631f)");
    }
}
