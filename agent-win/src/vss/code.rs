//! The codes that snapshots fail with (vsserror.h), each with a sentence and what to do about it.

use std::fmt;

/// A result of Windows' (HRESULT) that's a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u32);

impl Code {
    pub(crate) const NOT_IMPLEMENTED: Code = Code(0x8000_4001);
    pub(crate) const UNEXPECTED: Code = Code(0x8000_FFFF);
    pub(crate) const ACCESS_DENIED: Code = Code(0x8007_0005);
    pub(crate) const OBJECT_NOT_FOUND: Code = Code(0x8004_2308);
    pub(crate) const VOLUME_NOT_SUPPORTED: Code = Code(0x8004_230C);
    pub(crate) const CORRUPT_DOCUMENT: Code = Code(0x8004_2310);
    pub(crate) const SET_IN_PROGRESS: Code = Code(0x8004_2316);
    const FLUSH_WRITES_TIMEOUT: Code = Code(0x8004_2313);
    const HOLD_WRITES_TIMEOUT: Code = Code(0x8004_2314);
    const WRITER_TIMEOUT: Code = Code(0x8004_23F2);
    const WRITER_RETRYABLE: Code = Code(0x8004_23F3);

    /// Whether the same thing, done once more from the beginning, may well succeed.
    pub(crate) fn is_worth_another_try(self) -> bool {
        const RETRYABLE: [Code; 4] = [
            Code::FLUSH_WRITES_TIMEOUT,
            Code::HOLD_WRITES_TIMEOUT,
            Code::WRITER_TIMEOUT,
            Code::WRITER_RETRYABLE,
        ];
        RETRYABLE.contains(&self)
    }

    /// What it means, and what to do.
    pub(crate) fn sentence(self) -> &'static str {
        match self.0 {
            0x8004_2301 | 0x8004_2302 | 0x8000_FFFF => {
                "Windows' snapshot service is in disorder; restart the service \"Volume Shadow Copy\", then the computer"
            }
            0x8004_2304 | 0x8004_2306 | 0x8004_2307 | 0x8004_230F => {
                "the program that makes snapshots (the provider) refused or failed; see the event log under VSS and \
                 volsnap, and `vssadmin list providers` for one that isn't Microsoft's"
            }
            0x8004_2308 => "it isn't there any more; start its service and try again",
            0x8004_230C | 0x8004_230E => {
                "the volume can't have a snapshot; only local NTFS and ReFS volumes can, so move the data to one"
            }
            0x8004_2310 | 0x8004_2311 => {
                "an application describes itself in a way that can't be read; find it with `vssadmin list writers` and \
                 update it"
            }
            0x8004_2312 => {
                "the snapshot would have more than 64 volumes; capture fewer volumes in one configuration"
            }
            0x8004_2313 | 0x8004_2314 | 0x8004_2328 | 0x8004_2329 => {
                "the disks were too busy to hold still for a moment; capture at a quieter time"
            }
            0x8004_2315 | 0x8004_2318 | 0x8004_2319 => {
                "an application didn't answer; find it with `vssadmin list writers` and restart its service"
            }
            0x8004_2316 => "another program makes a snapshot; let it end and try again",
            0x8004_2317 | 0x8004_231E => {
                "there are too many snapshots already; delete old ones (`vssadmin list shadows`)"
            }
            0x8004_231B => "this Windows doesn't make snapshots of this kind; update it",
            0x8004_231D => "the volume is in use by something that keeps everybody out; end it and try again",
            0x8004_231F => {
                "there isn't enough room for a snapshot; free some on the volume, or give snapshots more with \
                 `vssadmin resize shadowstorage`"
            }
            0x8004_2327 => "Windows waits for a restart; restart the computer",
            0x8004_23F0 | 0x8004_2336 => {
                "the application couldn't bring all of its data into a sound state; see its own log"
            }
            0x8004_23F1 => {
                "the application ran out of memory or handles; close programs, or restart its service"
            }
            0x8004_23F2 => "the application wasn't ready in time; capture at a quieter time",
            0x8004_23F3 => "the application failed in passing; if it stays so, see its own log",
            0x8004_23F4 => {
                "the application failed, and would again; see its own log and the event log under VSS"
            }
            0x8004_2409 => "the application didn't say how it is; restart its service",
            0x8007_0005 => "that isn't allowed; run the agent as LocalSystem",
            0x8007_000E => "there isn't enough memory; close programs and try again",
            _ => "see the event log under VSS and volsnap",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "0x{:08X}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn what_passes_is_tried_again_and_the_rest_is_not() {
        for code in [0x8004_2313, 0x8004_2314, 0x8004_23F2, 0x8004_23F3] {
            assert!(Code(code).is_worth_another_try(), "{code:x}");
        }
        for code in [0x8004_231F, 0x8004_23F4, 0x8007_0005, 0x8004_2301] {
            assert!(!Code(code).is_worth_another_try(), "{code:x}");
        }
    }

    #[test]
    fn codes_are_shown_as_windows_lists_them_and_say_what_to_do() {
        assert_eq!(Code(0x8004_231F).to_string(), "0x8004231F");
        assert!(Code(0x8004_231F).sentence().contains("shadowstorage"));
        assert!(Code(0x8123_4567).sentence().contains("event log"));
    }
}
