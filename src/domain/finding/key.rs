//! The name of a finding: its code, and what tells it from others of the same code.
//!
//! One finding has one spelling, `F-NO-CONSENT service=solar-cn purpose=analytics`, which reads back to the
//! same key. Names are ordered and of bounded length. They name things of the organisation: the spelling
//! keeps e-mail addresses out, but whether a value was made for one person only its maker knows.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::rule;
use crate::domain::id::{Country, Id, Malformed, Regime};
use crate::limits;

/// How a field without a value is written.
const ABSENT: &str = "-";

/// How values begin where a key is written as an id; a hash does not.
const BRIEF: &str = "k~";

/// One value of a key, as it is written: an id, a number, a citation, or a list of them. In a list each item
/// stands once and in order, so that the order of events cannot make two names of one finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(CompactString);

impl Value {
    /// A single value of up to 200 characters, such as a citation.
    pub fn of(item: &str) -> Result<Value, Malformed> {
        Value::list([item])
    }

    /// At least one item; no items is an absent value.
    pub fn list<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Result<Value, Malformed> {
        let mut escaped =
            items.into_iter().map(|item| escape(item.as_ref())).collect::<Result<Vec<_>, _>>()?;
        escaped.sort_unstable();
        escaped.dedup();
        let text = escaped.join(",");
        if text.is_empty() {
            return Err(Malformed("is a list without items"));
        }
        if text.len() > limits::FINDING_VALUE_BYTES {
            return Err(Malformed("is longer than 2,048 bytes"));
        }
        Ok(Value(text.into()))
    }

    /// The value as it stands in the name, without blanks and commas of its own.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What was given, one item at a time.
    pub fn items(&self) -> impl Iterator<Item = Cow<'_, str>> {
        // Only what reads back is ever a value; the written form is a fallback that is never needed.
        self.0.split(',').map(|item| unescape(item).unwrap_or(Cow::Borrowed(item)))
    }
}

/// Blanks, commas and the sign of escaping itself are written as their bytes; a lone hyphen means absence.
fn escape(item: &str) -> Result<String, Malformed> {
    if item.is_empty() {
        return Err(Malformed("is empty"));
    }
    if item.chars().nth(limits::TITLE_CHARS).is_some() {
        return Err(Malformed("is longer than 200 characters"));
    }
    if item.chars().any(|c| c.is_control() || c == '@') {
        return Err(Malformed("is no value of a key: one line without @"));
    }
    let mut text = String::with_capacity(item.len());
    for c in item.chars() {
        if c.is_whitespace() || c == ',' || c == '%' || item == ABSENT {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                text.push_str(&format!("%{byte:02X}"));
            }
        } else {
            text.push(c);
        }
    }
    Ok(text)
}

fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Value {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.len() > limits::FINDING_VALUE_BYTES {
            return Err(Malformed("is longer than 2,048 bytes"));
        }
        let other = Malformed("is not the one spelling of a value");
        let items: Option<Vec<_>> = text.split(',').map(unescape).collect();
        let value = Value::list(items.ok_or(other.clone())?)?;
        if value.0 == text { Ok(value) } else { Err(other) }
    }
}

impl From<&Id> for Value {
    /// An id has neither blank nor comma nor per cent sign, and begins with a letter or digit.
    fn from(id: &Id) -> Value {
        Value(id.as_str().into())
    }
}

impl From<Country> for Value {
    fn from(country: Country) -> Value {
        Value(country.as_str().into())
    }
}

impl From<Regime> for Value {
    fn from(regime: Regime) -> Value {
        Value(regime.as_str().into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value(compact_str::format_compact!("{number}"))
    }
}

/// The name of a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    code: &'static str,
    values: Vec<Option<Value>>,
}

impl Key {
    /// A value for each field of the rule's key, in its order.
    pub fn new(code: &str, values: Vec<Option<Value>>) -> Result<Key, Malformed> {
        let rule = rule(code).ok_or(Malformed("is no code of a finding"))?;
        if values.len() != rule.key.len() {
            return Err(Malformed("has not one value for each field of its code's key"));
        }
        Ok(Key { code: &rule.code, values })
    }

    pub fn code(&self) -> &'static str {
        self.code
    }

    pub fn values(&self) -> &[Option<Value>] {
        &self.values
    }

    /// The key without its code as an id, where there is no room for more: its values, or their hash where they do
    /// not fit or would not read back.
    pub fn brief(&self) -> Id {
        let values: Vec<String> = self
            .values
            .iter()
            .map(|value| value.as_ref().map_or(ABSENT, Value::as_str).replace(',', "+"))
            .collect();
        let written = format!("{BRIEF}{}", values.join("~")).parse::<Id>().ok();
        let reads = written.filter(|id| Key::of_brief(self.code, id).as_ref() == Some(self));
        reads.unwrap_or_else(|| {
            let hash: String = Sha256::digest(self.to_string().as_bytes())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            // Sixty-four hexadecimal digits are an id.
            hash.parse().unwrap_or_else(|_| unreachable!("64 hexadecimal digits are an id"))
        })
    }

    /// Reads it back; `None` of a hash.
    pub fn of_brief(code: &str, brief: &Id) -> Option<Key> {
        let values = brief.as_str().strip_prefix(BRIEF)?.split('~').map(|value| match value {
            ABSENT => Some(None),
            value => value.replace('+', ",").parse::<Value>().ok().map(Some),
        });
        Key::new(code, values.collect::<Option<Vec<_>>>()?).ok()
    }

    /// Each field of the rule with its value.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Option<&Value>)> {
        let names = rule(self.code).map(|rule| rule.key.as_slice()).unwrap_or_default();
        names.iter().map(String::as_str).zip(self.values.iter().map(Option::as_ref))
    }

    /// The value of a field; `None` where it is absent or no field of this code.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields().find(|(name, _)| *name == field).and_then(|(_, value)| value)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)?;
        self.fields()
            .try_for_each(|(field, value)| write!(f, " {field}={}", value.map_or(ABSENT, Value::as_str)))
    }
}

impl FromStr for Key {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (code, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        let rule = rule(code).ok_or(Malformed("is no code of a finding"))?;
        let wrong = Malformed("does not name the fields of its code's key in their order");
        let mut values = Vec::with_capacity(rule.key.len());
        for (place, field) in rule.key.iter().enumerate() {
            let last = place + 1 == rule.key.len();
            let (word, more) = if last { (rest, "") } else { rest.split_once(' ').ok_or(wrong.clone())? };
            // An id may hold an equals sign; a field's name does not, so the first one is the separator.
            let value = word.split_once('=').filter(|(name, _)| name == field).ok_or(wrong.clone())?.1;
            values.push(if value == ABSENT { None } else { Some(value.parse()?) });
            rest = more;
        }
        Key::new(code, values)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::finding::rules;
    use proptest::prelude::*;

    fn id(text: &str) -> Option<Value> {
        Some(Value::from(&text.parse::<Id>().unwrap()))
    }

    #[test]
    fn a_name_is_written_in_one_way() {
        let key = Key::new("F-NO-CONSENT", vec![id("solar-cn"), id("analytics")]).unwrap();
        assert_eq!(key.to_string(), "F-NO-CONSENT service=solar-cn purpose=analytics");
        assert_eq!(key.get("purpose").map(Value::as_str), Some("analytics"));
        assert_eq!(key.get("recipient"), None);

        let values = vec![id("solar-cn"), id("payment"), None];
        let key = Key::new("F-NO-SEPARATE-CONSENT", values).unwrap();
        assert_eq!(key.to_string(), "F-NO-SEPARATE-CONSENT service=solar-cn purpose=payment recipient=-");
        assert_eq!(serde_json::from_str::<Key>(&serde_json::to_string(&key).unwrap()).unwrap(), key);

        let law = Value::of("UWG § 7, 3").unwrap();
        let key = Key::new("F-AUTHORITY-DISCLOSURE", vec![id("a=b+c"), Some(law)]).unwrap();
        assert_eq!(key.to_string(), "F-AUTHORITY-DISCLOSURE authority=a=b+c legal_ref=UWG%20§%207%2C%203");
        assert_eq!(key.get("legal_ref").unwrap().items().collect::<Vec<_>>(), ["UWG § 7, 3"]);
    }

    #[test]
    fn a_name_without_its_code_is_an_id() {
        let list = Value::list(["location_service", "analytics"]).unwrap();
        let key = Key::new("F-BUNDLED-CONSENT", vec![id("solar-cn"), None, Some(list)]).unwrap();
        let brief = key.brief();
        assert_eq!(brief.as_str(), "k~solar-cn~-~analytics+location_service");
        assert_eq!(Key::of_brief(key.code(), &brief), Some(key));
        for (first, second) in [("solar~cn", "a+b"), ("solar-cn", &*"x".repeat(60))] {
            let key = Key::new("F-NO-CONSENT", vec![id(first), id(second)]).unwrap();
            assert_eq!((key.brief().as_str().len(), Key::of_brief(key.code(), &key.brief())), (64, None));
        }
    }

    #[test]
    fn a_list_has_no_order_and_numbers_are_values() {
        let list = Value::list(["location_service", "analytics", "analytics"]).unwrap();
        assert_eq!(list, Value::list(["analytics", "location_service"]).unwrap());
        assert_eq!(list.to_string(), "analytics,location_service");
        let country = Value::from("CN".parse::<Country>().unwrap());
        assert_eq!((country.as_str(), Value::from(80).as_str()), ("CN", "80"));
        assert_eq!(Value::from(Regime::EU).to_string().parse(), Ok(Value::from(Regime::EU)));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for wrong in [
            "",
            "F-NO-CONSENT",
            "F-STARGAZING service=a",
            "F-NO-CONSENT service=a",
            "F-NO-CONSENT purpose=b service=a",
            "F-NO-CONSENT service=a purpose=b ",
            "F-NO-CONSENT service=a  purpose=b",
            "F-NO-CONSENT service=a purpose=",
            "F-NO-CONSENT service=a purpose=b purpose=b",
            "F-NO-CONSENT service=a purpose=c,b",
            "F-NO-CONSENT service=a purpose=b,b",
            "F-NO-CONSENT service=a purpose=b,",
            "F-NO-CONSENT service=a purpose=%62",
            "F-NO-CONSENT service=a purpose=%2c",
            "F-NO-CONSENT service=a purpose=%+1",
            "F-NO-CONSENT service=a purpose=%E3%80",
            "F-NO-CONSENT service=a purpose=me@kstar.com.cn",
        ] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
        assert!(Key::new("F-NO-CONSENT", vec![id("a")]).is_err());
        assert!(Value::of("").is_err() && Value::list([""; 0]).is_err() && Value::of("a\nb").is_err());
        assert!(Value::of(&"x".repeat(201)).is_err() && Value::of(&"\u{3000}".repeat(200)).is_ok());
        assert!(Value::list((0..1_000).map(|number| number.to_string())).is_err());
    }

    fn value() -> impl Strategy<Value = Option<Value>> {
        let item = prop_oneof!["[a-z0-9._:/=+#~-]{1,20}", "[^@\\p{Cc}]{1,20}", "[-,% \u{3000}]{1,2}"];
        let list = prop::collection::vec(item, 1..4);
        prop::option::of(list.prop_map(|items| Value::list(items).unwrap()))
    }

    proptest! {
        #[test]
        fn a_name_reads_back(place in 0..rules().len(), all in prop::collection::vec(value(), 8)) {
            let rule = &rules()[place];
            let values = all[..rule.key.len()].to_vec();
            let key = Key::new(&rule.code, values).unwrap();
            let written = key.to_string();
            prop_assert_eq!(written.parse::<Key>(), Ok(key.clone()));
            let brief = key.brief();
            prop_assert!(Key::of_brief(&rule.code, &brief).is_none_or(|read| read == key));
            prop_assert_eq!(key.brief(), brief);
            prop_assert_eq!(written.split(' ').count(), rule.key.len() + 1);
        }

        #[test]
        fn a_value_holds_what_was_given(mut items in prop::collection::vec("[^@\\p{Cc}]{1,20}", 1..5)) {
            let value = Value::list(&items).unwrap();
            let mut given: Vec<String> = value.items().map(Cow::into_owned).collect();
            items.sort();
            items.dedup();
            given.sort();
            prop_assert_eq!(given, items);
        }

        #[test]
        fn what_reads_is_written_the_same(text in "F-LEDGER origin=[-%,a-c2C0=]{1,6} kind=[-a%20]{1,4}") {
            if let Ok(key) = text.parse::<Key>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
