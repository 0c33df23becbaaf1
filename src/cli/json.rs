//! JSON in and out: protobuf's own JSON form of the API's messages, so that what Python's or Go's
//! protobuf library writes is what `custody record` reads. Field names may be written as in
//! `proto/` or in lowerCamelCase; enums by name; times as RFC 3339; bytes in base64. Unknown fields
//! are refused.

use std::sync::OnceLock;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, Kind, MessageDescriptor, SerializeOptions,
};
use serde_json::Value;

use crate::cli::exit::{Exit, Failure};
use crate::pb;

fn descriptor(name: &str) -> MessageDescriptor {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET)
            .expect("the build wrote a descriptor set that holds together")
    })
    .get_message_by_name(&format!("custody.v1.{name}"))
    .expect("names of messages are those of proto/, as the tests show")
}

/// Reads a message from its JSON form. The error names the place, never the text that stood there:
/// it could be somebody's telephone number.
pub fn parse<M: Message + Default>(name: &str, text: &str) -> Result<M, String> {
    let place = |e: &serde_json::Error| format!("line {} column {}", e.line(), e.column());
    let mut reader = serde_json::Deserializer::from_str(text);
    let dynamic =
        DynamicMessage::deserialize(descriptor(name), &mut reader).map_err(|e| match e.classify() {
            serde_json::error::Category::Data => format!("{} at {}", safe(&e.to_string()), place(&e)),
            _ => format!("is not JSON at {}", place(&e)),
        })?;
    reader.end().map_err(|e| format!("has more after its end, at {}", place(&e)))?;
    dynamic.transcode_to().map_err(|_| "does not fit its own type".to_owned())
}

/// What is wrong, if it can be said with names of fields and enums alone.
fn safe(message: &str) -> String {
    let known =
        message.starts_with("unrecognized field name") || message.starts_with("multiple fields provided");
    match message.split('\'').nth(1) {
        Some(field)
            if known
                && field.len() <= 64
                && field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
        {
            format!("has a field {field} that the API does not know, or twice")
        }
        _ if known => "has a field that the API does not know, or one twice".to_owned(),
        _ => "has a value of the wrong kind".to_owned(),
    }
}

/// Puts the prefix before names of enums that were given without it: `contract` becomes
/// `LEGAL_BASIS_CONTRACT`. What is no name of the enum stays, and is refused when it is parsed.
pub fn spell_out(name: &str, value: &mut Value) {
    spell_out_all(name, value);
}

/// The same, and the path of the first field whose word is no name of its enum.
pub fn spell_out_all(name: &str, value: &mut Value) -> Option<String> {
    let mut unknown = None;
    respell(&descriptor(name), value, "", &mut |names, word, path| {
        let short = word.to_ascii_uppercase();
        let full = names.default_value().name().replace("UNSPECIFIED", &short);
        if names.get_value_by_name(&full).is_some() {
            return Some(full);
        }
        if names.get_value_by_name(&short).is_none() && unknown.is_none() {
            unknown = Some(path.to_owned());
        }
        None
    });
    unknown
}

/// Takes the prefix away: `LEGAL_BASIS_CONTRACT` becomes `contract`.
pub fn shorten(name: &str, value: &mut Value) {
    respell(&descriptor(name), value, "", &mut |names, word, _| {
        let prefix = names.default_value().name().strip_suffix("UNSPECIFIED")?.to_owned();
        word.strip_prefix(&prefix).map(str::to_ascii_lowercase)
    });
}

/// What a name of an enum becomes, by the enum and the path of the field; `None` leaves it.
type Respell<'a> = dyn FnMut(&EnumDescriptor, &str, &str) -> Option<String> + 'a;

fn respell(message: &MessageDescriptor, value: &mut Value, at: &str, respelled: &mut Respell<'_>) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        let Some(field) = message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
        else {
            continue;
        };
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        let values = match value {
            Value::Array(values) => values.as_mut_slice(),
            single => std::slice::from_mut(single),
        };
        match field.kind() {
            Kind::Message(inner) => {
                values.iter_mut().for_each(|value| respell(&inner, value, &path, respelled))
            }
            Kind::Enum(names) => {
                for value in values {
                    let word = value.as_str().and_then(|word| respelled(&names, word, &path));
                    if let Some(word) = word {
                        *value = Value::String(word);
                    }
                }
            }
            _ => {}
        }
    }
}

/// A message in its JSON form, on one line, with the names of `proto/`.
pub fn text<M: Message>(name: &str, message: &M) -> Result<String, Failure> {
    let failed =
        |e: &dyn std::fmt::Display| Failure::new(Exit::Internal, format_args!("{name} as JSON: {e}"));
    let mut dynamic = DynamicMessage::new(descriptor(name));
    dynamic.transcode_from(message).map_err(|e| failed(&e))?;
    let mut out = Vec::new();
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    let mut serializer = serde_json::Serializer::new(&mut out);
    dynamic.serialize_with_options(&mut serializer, &options).map_err(|e| failed(&e))?;
    String::from_utf8(out).map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"event_id":"018f3a1c-0000-7000-8000-000000000001","controller":"kstar","emitter":"app",
        "occurredAt":"2026-03-01T08:00:00Z","people":[{"role":"ROLE_DATA_SUBJECT","identifiers":[{"kind":"IDENTIFIER_KIND_PHONE","value":"13800138000"}]}],
        "data_collected":{"cats":["pd:EmailAddress"]}}"#;

    #[test]
    fn an_event_reads_and_writes() {
        let event: pb::Event = parse("Event", EVENT).unwrap();
        assert_eq!(event.controller, "kstar");
        assert_eq!(event.occurred_at.as_ref().map(|t| t.seconds), Some(1_772_352_000));
        assert!(matches!(event.body, Some(pb::event::Body::DataCollected(_))));
        let again: pb::Event = parse("Event", &text("Event", &event).unwrap()).unwrap();
        assert_eq!(again, event);
    }

    #[test]
    fn errors_name_the_place_and_no_value() {
        let unknown = parse::<pb::Event>("Event", r#"{"emiter":"app"}"#).unwrap_err();
        assert!(unknown.contains("emiter"), "{unknown}");
        for wrong in [
            EVENT.replace("\"2026-03-01T08:00:00Z\"", "\"13800138000\""),
            EVENT.replace("[{\"kind\"", "{\"13800138000\":1,\"kind\""),
            EVENT.replace("\"IDENTIFIER_KIND_PHONE\"", "\"13800138000\""),
            EVENT.replace("\"kstar\"", "13800138000"),
            format!("{EVENT} 13800138000"),
        ] {
            let error = parse::<pb::Event>("Event", &wrong).unwrap_err();
            assert!(!error.contains("13800138000"), "{error}");
        }
    }
}
