//! What a script feeds: one id or one acknowledgement a line. A line that cannot be read is refused by its number and
//! leaves the others as they are; no message repeats what stood there.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Value;

use crate::cli::exit::{Exit, Failure};
use crate::cli::json;
use crate::pb;

/// What of the input can be used, and what is wrong with which lines.
#[derive(Debug, PartialEq)]
pub struct Fed<T> {
    pub items: Vec<T>,
    pub wrong: Vec<(usize, String)>,
}

/// Reads a file, or standard input, line by line; empty lines are passed over.
pub fn fed<T>(file: Option<&Path>, read: impl Fn(&str) -> Result<T, String>) -> Result<Fed<T>, Failure> {
    let mut fed = Fed { items: Vec::new(), wrong: Vec::new() };
    for (n, line) in BufReader::new(open(file)?).lines().enumerate() {
        let line = line?;
        match line.trim() {
            "" => {}
            text => match read(text) {
                Ok(item) => fed.items.push(item),
                Err(why) => fed.wrong.push((n + 1, why)),
            },
        }
    }
    Ok(fed)
}

/// What became of everything: one object, which may go over several lines.
pub fn whole(file: Option<&Path>) -> Result<pb::InstructionAcknowledgement, Failure> {
    let mut text = String::new();
    open(file)?.read_to_string(&mut text)?;
    acknowledgement(text.trim()).map_err(|why| Failure::new(Exit::Refused, format_args!("the answer {why}")))
}

fn open(file: Option<&Path>) -> Result<Box<dyn Read>, Failure> {
    let Some(path) = file else { return Ok(Box::new(std::io::stdin())) };
    let opened = std::fs::File::open(path);
    let wrong = |e| Failure::new(Exit::Configuration, format_args!("{}: {e}", path.display()));
    Ok(Box::new(opened.map_err(wrong)?))
}

/// An instruction's id: bare, as a JSON string, or as the object that `take --json` printed.
pub fn id(text: &str) -> Result<String, String> {
    if !text.starts_with(['"', '{']) {
        return Ok(text.to_owned());
    }
    let value: Value = serde_json::from_str(text).map_err(|_| "is not JSON".to_owned())?;
    let id = value.get("instruction_id").or_else(|| value.get("instructionId")).unwrap_or(&value).as_str();
    id.filter(|id| !id.is_empty()).map(str::to_owned).ok_or_else(|| "names no instruction".to_owned())
}

/// What became of an instruction; words of closed lists may be short, such as `done`.
pub fn acknowledgement(text: &str) -> Result<pb::InstructionAcknowledgement, String> {
    const NAME: &str = "InstructionAcknowledgement";
    let mut value: Value = serde_json::from_str(text).map_err(|_| "is not JSON".to_owned())?;
    if let Some(field) = json::spell_out_all(NAME, &mut value) {
        return Err(format!("{field} is none of the words that the API knows"));
    }
    json::parse(NAME, &value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_in_each_form() {
        for line in ["i-1", "\"i-1\"", r#"{"instruction_id":"i-1","kind":"INSTRUCTION_KIND_ERASE"}"#] {
            assert_eq!(id(line).unwrap(), "i-1", "{line}");
        }
        for wrong in ["{", "{}", "\"\"", "{\"instruction_id\":7}"] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_acknowledgement_is_read_with_short_words_and_refused_without_its_values() {
        let done = r#"{"instruction_id":"i-1","outcome":"done","method":"delete","stores":["crm"]}"#;
        let read = acknowledgement(done).unwrap();
        assert_eq!(read.outcome(), pb::InstructionOutcome::Done);
        assert_eq!((read.method(), &read.stores[..]), (pb::ErasureMethod::Delete, &["crm".to_owned()][..]));
        for wrong in [r#"{"outcome":"13800138000"}"#, r#"{"instruction_id":13800138000}"#, "13800138000"] {
            let why = acknowledgement(wrong).unwrap_err();
            assert!(!why.contains("138"), "{why}");
        }
    }

    #[test]
    fn a_wrong_line_leaves_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ids");
        std::fs::write(&file, "i-1\n\n{\n\"i-2\"\n").unwrap();
        let fed = fed(Some(&file), id).unwrap();
        assert_eq!(fed.items, ["i-1", "i-2"]);
        assert_eq!(fed.wrong, [(3, "is not JSON".to_owned())]);
    }
}
