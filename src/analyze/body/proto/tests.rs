//! protobuf with and without definitions; prost-reflect is the oracle.

use proptest::prelude::*;

use super::*;
use crate::analyze::body::{Kind, Limits, Rendered, render};
use crate::analyze::report::must_be_spelled;

fn untyped(bytes: &[u8]) -> Rendered {
    render(bytes, Some("application/grpc"), &Context::default())
}

#[test]
fn fields_by_their_numbers() {
    let bytes = b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01\x25\xdb\x0f\x49\x40\
        \x29\x2a\0\0\0\0\0\0\0\x32\x02\xff\xfe\x38\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\
        \x42\x00\x4b\x08\x01\x4c\x52\x02\n\t";
    let rendered = untyped(bytes);
    assert_eq!(rendered.kind, Kind::Protobuf);
    assert_eq!(rendered.notes, [""; 0]);
    assert_eq!(
        rendered.lines,
        [
            "1: 150",
            "2: \"testing\"",
            "3 {",
            "  1: 150",
            "}",
            "4: 0x40490fdb  # 3.1415927, or 1078530011",
            "5: 0x000000000000002a  # 42",
            "6: 0xfffe  # 2 bytes",
            "7: 18446744073709551615  # -1, or -9223372036854775808 as zigzag",
            "8: \"\"",
            "9 {",
            "  1: 1",
            "}",
            "10: \"\\n\\t\"",
        ]
    );
}

#[test]
fn faults_have_their_place() {
    let rendered = untyped(b"\x08\x01\x12\x05ab");
    assert_eq!(rendered.lines, ["1: 1", "# 4 bytes from byte 2: 12056162"]);
    assert_eq!(rendered.notes, ["at byte 2: a value that ends early"]);
    let cut = Context { cut: true, ..Context::default() };
    let rendered = render(b"\x08\x01\x12\x05ab", Some("application/protobuf"), &cut);
    assert_eq!(rendered.notes, ["at byte 2: a value that ends early, where the body is cut"]);
    assert_eq!(untyped(b"\x08\x01\x0f\x00").notes, ["at byte 2: a wire type that there is not"]);
    assert_eq!(untyped(b"\0\0").notes, ["at byte 0: a field number that there is not"]);
}

#[test]
fn what_is_nested_too_deep_is_bytes() {
    // Messages in each other, of which none is text: each ends with a field of zero.
    let mut bytes = b"\x08\0".to_vec();
    for _ in 0..25 {
        let len = u8::try_from(bytes.len()).expect("short");
        bytes = [&[0x0a, len], &bytes[..], b"\x08\0"].concat();
    }
    let limits = Limits { depth: 10, ..Limits::default() };
    let rendered =
        render(&bytes, Some("application/grpc"), &Context { limits, ..Context::default() });
    assert_eq!(rendered.notes.len(), 1);
    assert!(rendered.notes[0].ends_with("nested too deep to be shown"), "{rendered:?}");
}

proptest! {
    #[test]
    fn any_bytes_by_number(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let rendered = untyped(&bytes);
        for line in rendered.lines.iter().chain(&rendered.notes) {
            prop_assert!(!line.chars().any(must_be_spelled), "{:?}", line);
        }
    }
}

#[test]
fn status_details_that_are_none() {
    let rendered = status_details(b"\x1b[2J not base64!", &Context::default());
    assert_eq!(rendered.lines, ["\\x1b[2J not base64!"]);
    assert_eq!(rendered.notes.len(), 1);
}

#[cfg(not(feature = "proto"))]
#[test]
fn says_how_to_build() {
    let told = Schemas::load(&Sources::default()).expect_err("not built").to_string();
    assert!(told.contains("--features proto"), "{told}");
}

#[cfg(feature = "proto")]
mod with_definitions {
    use base64::Engine as _;
    use prost_reflect::prost::Message as _;
    use prost_reflect::{DynamicMessage, MessageDescriptor};

    use super::*;

    const SHOP: &str = r#"syntax = "proto3";
package shop.v1;
import "google/protobuf/any.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
service Orders { rpc Get(GetRequest) returns (stream Order); }
message GetRequest { string id = 1; }
enum State { UNKNOWN = 0; PAID = 1; }
message Order {
  string id = 1;
  repeated Item items = 2;
  State state = 3;
  map<string, sint64> counts = 4;
  repeated int32 codes = 5;
  google.protobuf.Timestamp at = 6;
  google.protobuf.Duration took = 7;
  google.protobuf.Any more = 8;
  bytes raw = 9;
  double price = 10;
  float part = 11;
  repeated fixed32 marks = 12 [packed = false];
  oneof how { bool card = 13; sfixed64 cash = 14; }
  Order parent = 15;
  optional uint64 big = 16;
  repeated double rates = 17;
  repeated State states = 18;
  repeated string tags = 19;
  int64 signed = 20;
}
message Item { string name = 1; uint32 count = 2; }
"#;

    fn shop() -> Schemas {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("shop.proto"), SHOP).expect("written");
        let sources = Sources {
            protos: vec!["shop.proto".into()],
            proto_paths: vec![folder.path().to_owned()],
            ..Sources::default()
        };
        Schemas::load(&sources).expect("loaded")
    }

    fn order(schemas: &Schemas) -> MessageType {
        schemas.response("/shop.v1.Orders/Get").expect("a method")
    }

    fn parse(descriptor: &MessageDescriptor, text: &str) -> DynamicMessage {
        DynamicMessage::parse_text_format(descriptor.clone(), text)
            .unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn typed(bytes: &[u8], schemas: &Schemas, message: MessageType) -> Rendered {
        let ctx = Context { schemas: Some(schemas), message: Some(message), ..Context::default() };
        render(bytes, Some("application/grpc+proto"), &ctx)
    }

    #[test]
    fn fields_by_their_names() {
        let schemas = shop();
        let request = schemas.request("/shop.v1.Orders/Get?x").expect("a method");
        assert_eq!(request.name(), "shop.v1.GetRequest");
        assert!(schemas.request("/shop.v1.Orders/Put").is_none());
        let text = r#"id: "a\"\n" items { name: "b" count: 2 } items { } state: PAID
            counts { key: "k" value: -3 } codes: [1, -2] at { seconds: 1700000000 nanos: 5 }
            took { seconds: -1 nanos: -500000000 } price: 2.5 part: 1e-10 card: true
            more { [type.googleapis.com/shop.v1.Item] { name: "in any" } } raw: "\377\000" "#;
        let message = parse(&order(&schemas).0, text);
        let rendered = typed(&message.encode_to_vec(), &schemas, order(&schemas));
        assert_eq!(rendered.notes, [""; 0]);
        assert_eq!(
            rendered.lines,
            [
                "id: \"a\\\"\\n\"",
                "items {",
                "  name: \"b\"",
                "  count: 2",
                "}",
                "items {",
                "}",
                "state: PAID",
                "counts {",
                "  key: \"k\"",
                "  value: -3",
                "}",
                "codes: [1, -2]",
                "at {  # 2023-11-14T22:13:20.000000005Z",
                "  seconds: 1700000000",
                "  nanos: 5",
                "}",
                "took {  # -1.5 s",
                "  seconds: -1",
                "  nanos: -500000000",
                "}",
                "more {",
                "  [type.googleapis.com/shop.v1.Item] {",
                "    name: \"in any\"",
                "  }",
                "}",
                "raw: \"\\377\\000\"",
                "price: 2.5",
                "part: 1e-10",
                "card: true",
            ]
        );
    }

    #[test]
    fn what_the_definition_does_not_have_is_shown_with_its_place() {
        let schemas = shop();
        // Field 99; a string where a number is due; an enum value; a cut string.
        let bytes = b"\x98\x06\x07\x1a\x01x\x18\x09\x0a\x05ab";
        let rendered = typed(bytes, &schemas, order(&schemas));
        assert_eq!(
            rendered.lines,
            [
                "99: 7  # at byte 0: not in shop.v1.Order",
                "3: \"x\"  # at byte 3: not as state is defined",
                "state: 9  # not in shop.v1.State",
                "# 4 bytes from byte 8: 0a056162",
            ]
        );
        assert_eq!(
            rendered.notes,
            ["at byte 3: not as state is defined", "at byte 8: a value that ends early"]
        );
    }

    #[test]
    fn errors_say_file_line_and_column() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bad.proto");
        let load = |text: &str| {
            std::fs::write(&file, text).expect("written");
            let sources = Sources {
                protos: vec![file.clone()],
                proto_paths: vec![folder.path().to_owned()],
                ..Sources::default()
            };
            Schemas::load(&sources).expect_err("wrong").to_string()
        };
        let told = load("syntax = \"proto3\";\nmessage A { int32 a 1; }\n");
        assert!(told.contains("bad.proto:2:21"), "{told}");
        let told = load("syntax = \"proto3\";\nmessage A { B b = 1; }\n");
        assert!(told.contains("bad.proto:2:13"), "{told}");
        let told = load("syntax = \"proto3\";\nimport \"gone.proto\";\n");
        assert!(told.contains("bad.proto:2:1") && told.contains("gone.proto"), "{told}");
        let sources = Sources { descriptor_sets: vec![file.clone()], ..Sources::default() };
        let told = Schemas::load(&sources).expect_err("none").to_string();
        assert!(told.contains("bad.proto"), "{told}");
    }

    #[test]
    fn a_descriptor_set_does_as_well() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("shop.bin");
        let set = order(&shop()).0.parent_pool().encode_to_vec();
        std::fs::write(&file, set).expect("written");
        let sources = Sources { descriptor_sets: vec![file], ..Sources::default() };
        let schemas = Schemas::load(&sources).expect("loaded");
        assert_eq!(format!("{:?}", order(&schemas)), "MessageType(\"shop.v1.Order\")");
        assert!(format!("{schemas:?}").contains("shop.proto"));
    }

    #[test]
    fn a_status_with_its_details() {
        let status = Schemas::built_in().message("google.rpc.Status").expect("built in");
        let text = r#"code: 5 message: "no such order"
            details { [type.googleapis.com/google.rpc.ErrorInfo] {
                reason: "GONE" domain: "shop" metadata { key: "id" value: "7" } } }
            details { type_url: "type.googleapis.com/x.Unknown" value: "\010\001" }"#;
        let bytes = parse(&status.0, text).encode_to_vec();
        let value = base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
        let rendered = status_details(value.as_bytes(), &Context::default());
        assert_eq!(rendered.notes, [""; 0]);
        assert_eq!(
            rendered.lines,
            [
                "code: 5  # NOT_FOUND",
                "message: \"no such order\"",
                "details {",
                "  [type.googleapis.com/google.rpc.ErrorInfo] {",
                "    reason: \"GONE\"",
                "    domain: \"shop\"",
                "    metadata {",
                "      key: \"id\"",
                "      value: \"7\"",
                "    }",
                "  }",
                "}",
                "details {",
                "  [type.googleapis.com/x.Unknown] {  # of a type that is not known here",
                "    1: 1",
                "  }",
                "}",
            ]
        );
    }

    /// Orders as their text.
    fn orders() -> impl Strategy<Value = String> {
        // Short: the oracle's lexer takes stack for each character unless it is optimised.
        let string = || {
            proptest::collection::vec(any::<char>(), 0..16)
                .prop_map(|text| printer::quoted(String::from_iter(text).as_bytes()))
        };
        let bytes =
            || proptest::collection::vec(any::<u8>(), 0..20).prop_map(|b| printer::quoted(&b));
        let part = prop_oneof![
            string().prop_map(|v| format!("tags: {v}")),
            bytes().prop_map(|v| format!("raw: {v}")),
            (string(), any::<u32>()).prop_map(|(n, c)| format!("items {{ name: {n} count: {c} }}")),
            (string(), any::<i64>()).prop_map(|(k, v)| format!("counts {{ key: {k} value: {v} }}")),
            any::<i32>().prop_map(|v| format!("codes: {v}")),
            any::<u32>().prop_map(|v| format!("marks: {v}")),
            any::<i64>().prop_map(|v| format!("cash: {v}")),
            any::<i64>().prop_map(|v| format!("signed: {v}")),
            any::<u64>().prop_map(|v| format!("big: {v}")),
            any::<i32>().prop_map(|v| format!("states: {v}")),
            (-1e30..1e30).prop_map(|v: f64| format!("rates: {v:?}")),
            (-1e30_f32..1e30).prop_map(|v| format!("part: {v:?}")),
            (-100_i64..4_000_000_000).prop_map(|v| format!("at {{ seconds: {v} }}")),
            string().prop_map(|v| {
                format!("more {{ [type.googleapis.com/shop.v1.Item] {{ name: {v} }} }}")
            }),
        ];
        let once = ["raw", "cash", "signed", "big", "part", "at", "more"];
        let parts = proptest::collection::vec(part, 0..12).prop_map(move |mut parts| {
            let mut seen = std::collections::HashSet::new();
            parts.retain(|part: &String| {
                let name = part.split([':', ' ']).next().unwrap_or_default().to_owned();
                !once.contains(&name.as_str()) || seen.insert(name)
            });
            parts.join(" ")
        });
        (parts.clone(), proptest::option::of(parts)).prop_map(|(order, parent)| match parent {
            Some(parent) => format!("{order} parent {{ {parent} }}"),
            None => order,
        })
    }

    proptest! {
        /// What is printed is the text of the same message.
        #[test]
        fn is_what_prost_reflect_reads(text in orders()) {
            let schemas = shop();
            let descriptor = order(&schemas).0;
            let bytes = parse(&descriptor, &text).encode_to_vec();
            // What is parsed knows of fields set to their default, the wire does not.
            let decode = |bytes: &[u8]| {
                DynamicMessage::decode(descriptor.clone(), bytes).expect("a message")
            };
            let rendered = typed(&bytes, &schemas, order(&schemas));
            prop_assert!(rendered.notes.is_empty(), "{:?}", rendered.notes);
            let back = parse(&descriptor, &rendered.lines.join("\n"));
            // Their debug form has no end: a message may hold itself.
            let same = decode(&back.encode_to_vec()) == decode(&bytes);
            prop_assert!(same, "{} of {}", rendered.lines.join("\n"), text);
        }

        /// Any bytes as a message of which all is known, and each cut of a real one.
        #[test]
        fn any_bytes_by_name(
            noise in proptest::collection::vec(any::<u8>(), 0..100),
            text in orders(),
            at: prop::sample::Index,
        ) {
            let schemas = shop();
            let bytes = parse(&order(&schemas).0, &text).encode_to_vec();
            let cut = &bytes[..at.index(bytes.len() + 1)];
            for bytes in [&noise[..], cut] {
                let rendered = typed(bytes, &schemas, order(&schemas));
                for line in rendered.lines.iter().chain(&rendered.notes) {
                    prop_assert!(!line.chars().any(must_be_spelled), "{:?}", line);
                }
            }
        }
    }
}
