//! Closed terms of instructions as they are typed and printed: their names in `proto/` without the prefix.

use crate::pb;

fn short(name: &str, prefix: &str) -> String {
    match name.strip_prefix(prefix) {
        Some("UNSPECIFIED") | None => String::new(),
        Some(word) => word.to_ascii_lowercase(),
    }
}

fn long(text: &str, prefix: &str) -> String {
    format!("{prefix}{}", text.to_ascii_uppercase().replace('-', "_"))
}

macro_rules! printed {
    ($($print:ident: $of:ident, $prefix:literal;)*) => {$(
        pub fn $print(term: pb::$of) -> String {
            short(term.as_str_name(), $prefix)
        }
    )*};
}

/// What is typed is read as it is printed.
macro_rules! typed {
    ($($read:ident, $print:ident: $of:ident, $prefix:literal;)*) => {
        printed! { $($print: $of, $prefix;)* }
        $(
            pub fn $read(text: &str) -> Result<pb::$of, String> {
                let term = pb::$of::from_str_name(&long(text, $prefix));
                term.filter(|term| i32::from(*term) != 0).ok_or_else(|| {
                    // Numbers have no gaps.
                    let all = (1..).map_while(|number| pb::$of::try_from(number).ok());
                    format!("is none of {}", all.map($print).collect::<Vec<_>>().join(", "))
                })
            }
        )*
    };
}

typed! {
    kind_of, kind: InstructionKind, "INSTRUCTION_KIND_";
    state_of, state: InstructionState, "INSTRUCTION_STATE_";
    outcome_of, outcome: InstructionOutcome, "INSTRUCTION_OUTCOME_";
    method_of, method: ErasureMethod, "ERASURE_METHOD_";
    verification_of, verification: Verification, "VERIFICATION_";
}

printed! {
    answer: InstructionAnswer, "INSTRUCTION_ANSWER_";
    channel: RecipientChannel, "RECIPIENT_CHANNEL_";
    identifier_kind: IdentifierKind, "IDENTIFIER_KIND_";
}

/// Which data: what is not stated is not narrowed, or has none.
pub fn data(one: &pb::Instruction) -> String {
    let parts = [&one.service, &one.record_kind, &one.category, &one.slot];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        assert_eq!(kind_of(&kind(pb::InstructionKind::StopUsing)), Ok(pb::InstructionKind::StopUsing));
        assert_eq!(kind_of("stop-using"), Ok(pb::InstructionKind::StopUsing));
        assert_eq!(kind_of("unspecified").unwrap_err(), kind_of("burn").unwrap_err());
        assert_eq!(outcome_of("burn").unwrap_err(), "is none of done, refused, impossible, deferred");
        assert_eq!(answer(pb::InstructionAnswer::Unspecified), "");
    }
}
