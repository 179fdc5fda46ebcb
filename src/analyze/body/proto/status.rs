//! `grpc-status-details-bin`: a `google.rpc.Status`, whose fields are known without a file.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::printer::{Place, Printer, comment, quoted};
use super::wire::{Field, Fields, Value};
use crate::analyze::body::lines::Lines;
use crate::analyze::body::text::{self, Charset};
use crate::analyze::body::{Context, Kind, Rendered};
use crate::analyze::transaction::GRPC_STATUS;

/// Base64 as gRPC sends it: without padding by most, with it by some.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The value of `grpc-status-details-bin` as lines: code, message and details, each detail
/// by its type if that was loaded or is one of google.rpc's (`google/rpc/error_details.proto`).
///
/// `value` is the field's value: base64, with or without padding.
pub fn status_details(value: &[u8], ctx: &Context<'_>) -> Rendered {
    let mut lines = Lines::new(&ctx.limits);
    match BASE64.decode(value.trim_ascii()) {
        Ok(bytes) => {
            status(&bytes, ctx, &mut lines);
            lines.finish(Kind::Protobuf)
        }
        Err(_) => {
            lines.push(0, &text::line(value, Charset::Utf8));
            lines.note("not base64, which fields that end with -bin are".to_owned());
            lines.finish(Kind::Text)
        }
    }
}

fn status(bytes: &[u8], ctx: &Context<'_>, lines: &mut Lines) {
    let place = Place { base: 0, level: 0, depth: 0 };
    let mut printer = Printer { ctx, lines };
    for field in Fields::new(bytes, 0) {
        let field = match field {
            Ok(field) => field,
            Err(fault) => return printer.fault(bytes, fault, place),
        };
        match field {
            Field { number: 1, value: Value::Varint(code), .. } => {
                let code = (code as u32).cast_signed();
                let name = usize::try_from(code).ok().and_then(|code| GRPC_STATUS.get(code));
                let comment = comment(name.unwrap_or(&"a code that gRPC does not have"));
                printer.lines.push(0, &format!("code: {code}{comment}"));
            }
            Field { number: 2, value: Value::Bytes(message), .. } => {
                printer.lines.push(0, &format!("message: {}", quoted(message)));
            }
            Field { number: 3, value: Value::Bytes(detail), value_at, .. } => {
                if printer.open("details", "", detail, value_at, place) {
                    let within = place.within(value_at);
                    if !printer.any(detail, within) {
                        printer.message(detail, None, within);
                    }
                    printer.lines.push(0, "}");
                }
            }
            field => {
                let remark = format!("at byte {}: not in google.rpc.Status", field.at);
                printer.unknown(&field, &remark, place);
            }
        }
    }
}
