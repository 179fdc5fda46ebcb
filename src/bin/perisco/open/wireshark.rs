//! Wireshark and tshark: which version there is, what it reads, and what to
//! tell it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};

use super::survey::{Spoken, Survey};

/// Ports that a command line names at most. More are no services but a scan, or
/// clients taken for servers.
pub const PORTS: usize = 128;

/// The program that is to open the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// In a window.
    Wireshark,
    /// In the terminal.
    Tshark,
}

impl Program {
    /// What it is called on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wireshark => "wireshark",
            Self::Tshark => "tshark",
        }
    }

    /// Asks it what it is; None where it is not installed.
    pub fn version(self) -> Option<Version> {
        let mut command = Command::new(self.name());
        let output = command.arg("--version").stdin(Stdio::null()).output().ok()?;
        Some(Version::of(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// What a program says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// 4.0 is (4, 0).
    number: (u32, u32),
    zstd: bool,
    lz4: bool,
}

impl Version {
    fn of(text: &str) -> Self {
        let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut words = joined.split(' ').filter_map(|word| {
            let mut parts = word.split('.').map(|part| part.parse::<u32>().ok());
            Some((parts.next()??, parts.next()??))
        });
        Self {
            number: words.next().unwrap_or_default(),
            zstd: joined.contains("with Zstandard"),
            lz4: joined.contains("with LZ4"),
        }
    }

    /// Why it cannot read a capture of this format as it is; None where it can.
    pub fn refuses(&self, format: &str, path: &Path) -> Option<&'static str> {
        // 3.4 lists Zstandard too, and uses it for Kafka only.
        let reads = self.number >= (4, 0);
        if format.contains("zstd") {
            if !self.zstd || !reads {
                return Some("it reads no zstd");
            }
            // It shows the first frame only, and says that the file is damaged.
            if self.number < (4, 4) && !is_one_zstd_frame(path) {
                return Some("before version 4.4 it shows the first of several zstd frames only");
            }
        }
        if format.contains("lz4") && (!self.lz4 || !reads) {
            return Some("it reads no lz4");
        }
        None
    }
}

/// Whether a file is one zstd frame and nothing else (RFC 8878 section 3.1.1).
fn is_one_zstd_frame(path: &Path) -> bool {
    let frame = || -> io::Result<bool> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(first_frame(&mut BufReader::new(file))? == Some(length))
    };
    frame().unwrap_or(false)
}

/// Where the first frame ends; None where there is no zstd frame first.
fn first_frame<R: Read + io::Seek>(from: &mut BufReader<R>) -> io::Result<Option<u64>> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let [magic @ .., descriptor] = head;
    if magic != 0xfd2f_b528_u32.to_le_bytes() {
        return Ok(None);
    }
    let single = descriptor >> 5 & 1;
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let content = [i64::from(single), 2, 4, 8][usize::from(descriptor >> 6)];
    from.seek_relative(i64::from(1 - single) + dictionary + content)?;
    loop {
        let mut block = [0; 4];
        from.read_exact(&mut block[..3])?;
        let block = u32::from_le_bytes(block);
        // One byte stands for as many as the size says.
        let size = if block >> 1 & 3 == 1 { 1 } else { block >> 3 };
        from.seek_relative(i64::from(size))?;
        if block & 1 == 1 {
            break;
        }
    }
    let checksum = i64::from(descriptor >> 2 & 1) * 4;
    from.seek_relative(checksum)?;
    io::Seek::stream_position(from).map(Some)
}

/// How a port is to be dissected; None where Wireshark is left to itself.
pub fn dissector(spoken: &Spoken) -> Option<&'static str> {
    match spoken {
        // Told to take it for HTTP, it would no longer see TLS.
        Spoken { tls: true, .. } => None,
        // The HTTP dissector hands over to HTTP/2 at a preface or an upgrade.
        Spoken { http1: true, .. } | Spoken { upgraded: true, .. } => Some("http"),
        // This one needs no preface: connections joined midway are dissected too.
        Spoken { http2: true, .. } => Some("http2"),
        _ => None,
    }
}

/// The ports that are named, the busiest first where there are too many.
pub fn ports(survey: &Survey) -> Vec<(u16, Spoken)> {
    let mut ports: Vec<_> = survey.ports.iter().map(|(port, spoken)| (*port, *spoken)).collect();
    ports.retain(|(_, spoken)| dissector(spoken).is_some());
    ports.sort_by_key(|(port, spoken)| (std::cmp::Reverse(spoken.transactions), *port));
    ports.truncate(PORTS);
    ports.sort_by_key(|(port, _)| *port);
    ports
}

/// The command line that opens a capture.
pub fn command(
    program: Program,
    ports: &[(u16, Spoken)],
    path: &Path,
    more: &[OsString],
) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![program.name().into()];
    for (port, spoken) in ports {
        if let Some(dissector) = dissector(spoken) {
            words.extend(["-d".into(), format!("tcp.port=={port},{dissector}").into()]);
        }
    }
    // One segment that comes late costs the rest of an HTTP/2 connection otherwise.
    words.extend(["-o".into(), "tcp.reassemble_out_of_order:TRUE".into()]);
    words.extend(["-r".into(), path.into()]);
    words.extend_from_slice(more);
    words
}

/// A command line as a shell reads it.
pub fn shell(words: &[OsString]) -> OsString {
    let quoted: Vec<_> = words.iter().map(|word| quote(word)).collect();
    OsString::from_vec(quoted.join(&b' '))
}

/// A word as a shell reads it (POSIX.1-2017, section 2.2.2).
fn quote(word: &OsStr) -> Vec<u8> {
    let bytes = word.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:,=+@%".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return bytes.to_vec();
    }
    let mut out = vec![b'\''];
    for byte in bytes {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn versions_say_what_they_read() {
        let text =
            "TShark (Wireshark) 4.0.17 (Git v4.0.17).\n\nCompiled with LZ4, with\nZstandard, x";
        let version = Version::of(text);
        assert_eq!(version, Version { number: (4, 0), zstd: true, lz4: true });
        let path = Path::new("/nonexistent");
        assert_eq!(version.refuses("pcapng", path), None);
        assert_eq!(version.refuses("pcapng (lz4)", path), None);
        assert!(version.refuses("pcapng (zstd)", path).is_some_and(|why| why.contains("4.4")));
        let newer = Version { number: (4, 4), ..version.clone() };
        assert_eq!(newer.refuses("pcapng (zstd)", path), None);
        let without = Version { zstd: false, ..newer };
        assert_eq!(without.refuses("pcap (µs, zstd)", path), Some("it reads no zstd"));
        assert_eq!(without.refuses("pcap (µs, gzip)", path), None);
        assert_eq!(Version::of("").number, (0, 0));
    }

    #[test]
    fn one_frame_is_told_from_several() {
        let bytes: Vec<u8> =
            (0..500_000_u32).flat_map(|n| n.wrapping_mul(77).to_le_bytes()).collect();
        for checksum in [false, true] {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.include_checksum(checksum).unwrap();
            io::Write::write_all(&mut encoder, &bytes).unwrap();
            let frame = encoder.finish().unwrap();
            let end = |bytes: &[u8]| first_frame(&mut BufReader::new(Cursor::new(bytes)));
            let length = frame.len() as u64;
            assert_eq!(end(&frame).unwrap(), Some(length));
            assert_eq!(end(&frame.repeat(2)).unwrap(), Some(length));
            assert_eq!(end(b"not zstd at all").unwrap(), None);
            assert!(end(&frame[..3]).is_err());
        }
        let whole = zstd::bulk::compress(b"small", 1).unwrap();
        let mut from = BufReader::new(Cursor::new(&whole[..]));
        assert_eq!(first_frame(&mut from).unwrap(), Some(whole.len() as u64));
    }

    #[test]
    fn a_port_is_dissected_as_what_it_speaks() {
        let http1 = Spoken { http1: true, ..Spoken::default() };
        let http2 = Spoken { http2: true, grpc: true, ..Spoken::default() };
        for (spoken, expected) in [
            (http1, Some("http")),
            (http2, Some("http2")),
            (Spoken { http1: true, ..http2 }, Some("http")),
            (Spoken { upgraded: true, ..http2 }, Some("http")),
            (Spoken { tls: true, ..http2 }, None),
            (Spoken::default(), None),
        ] {
            assert_eq!(dissector(&spoken), expected, "{spoken:?}");
        }
    }

    #[test]
    fn shells_read_words_back() {
        let words =
            ["wireshark", "-d", "tcp.port==1,http", "it's $HOME;\n*", ""].map(OsString::from);
        let line = shell(&words);
        let output = Command::new("sh")
            .args(["-c", &format!("printf '%s\\0' {}", line.to_str().unwrap())])
            .output()
            .unwrap();
        let read: Vec<_> = output.stdout.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        let words: Vec<_> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        assert_eq!(read[..5], words[..]);
    }
}
