//! Saying no, in the one form that every program understands.

use coffer_format::wire::{Message, Refusal, RefusalCode};

/// A refusal to send. `sentence` is for a person and ends with what to do.
pub fn refuse(code: RefusalCode, sentence: impl Into<String>) -> Message {
    Message::Refused { refusal: Refusal { code, sentence: sentence.into() } }
}
