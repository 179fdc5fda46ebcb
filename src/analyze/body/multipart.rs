//! Parts of a multipart body (RFC 2046 section 5.1): their headers, and what they hold.

use memchr::memmem;

use super::Context;
use super::lines::Lines;
use super::render::{self, Media};
use super::text::{self, Charset};

/// Writes the parts; says whether there was one, else nothing is written.
pub fn print(
    bytes: &[u8],
    boundary: &str,
    ctx: &Context<'_>,
    level: usize,
    lines: &mut Lines,
) -> bool {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let Some(first) = find(bytes, &delimiter, 0) else { return false };
    let mut at = first;
    for index in 1.. {
        let begin = at + delimiter.len();
        let after = bytes.get(begin..).unwrap_or_default();
        if after.starts_with(b"--") {
            return true;
        }
        if index > ctx.limits.parts {
            lines.push(level, "… more parts");
            return true;
        }
        // The rest of the delimiter's line is padding.
        let skipped = memchr::memchr(b'\n', after).map_or(after.len(), |end| end + 1);
        let begin = begin + skipped;
        let next = find(bytes, &delimiter, begin);
        let part = bytes.get(begin..next.unwrap_or(bytes.len())).unwrap_or_default();
        let cut = Context { cut: ctx.cut && next.is_none(), ..ctx.clone() };
        self::part(index, trim(part, next.is_some()), &cut, level, lines);
        let Some(next) = next else {
            lines.note("the body ends before the boundary that ends it".to_owned());
            return true;
        };
        at = next;
    }
    true
}

/// The delimiter at the beginning of a line.
fn find(bytes: &[u8], delimiter: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    memmem::find_iter(rest, delimiter)
        .map(|at| from + at)
        .find(|at| at.checked_sub(1).is_none_or(|before| bytes.get(before) == Some(&b'\n')))
}

/// The line end before a delimiter belongs to it.
fn trim(part: &[u8], ended: bool) -> &[u8] {
    let Some(part_without) = part.strip_suffix(b"\n").filter(|_| ended) else { return part };
    part_without.strip_suffix(b"\r").unwrap_or(part_without)
}

fn part(index: usize, part: &[u8], ctx: &Context<'_>, level: usize, lines: &mut Lines) {
    lines.push(level, &format!("part {index}"));
    let mut rest = part;
    let mut content_type = None;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        let line = line.trim_ascii_end();
        if line.is_empty() {
            break;
        }
        lines.push(level + 1, &text::line(line, Charset::Utf8));
        const NAME: &[u8] = b"content-type:";
        if line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
            content_type = line.get(NAME.len()..).map(|v| String::from_utf8_lossy(v).into_owned());
        }
    }
    if rest.is_empty() {
        return;
    }
    lines.push(level + 1, "");
    // The type that was given is the whole body's, and parts within parts are not taken apart.
    let ctx = Context { message: None, ..ctx.clone() };
    let media = Media::parse(content_type.as_deref());
    render::write(rest, &media.within(), &ctx, level + 1, lines);
}
