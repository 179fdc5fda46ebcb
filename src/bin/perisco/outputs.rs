//! `-o`: which formats go where, and the files that hold them.
//!
//! What is of use only as a whole (a report) is written to a temporary file
//! beside its place and renamed when it is whole, so that half of one is never
//! taken for it. Lines are written in their place, where they can be read while
//! they come.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use flate2::write::GzEncoder;
use perisco::analyze::report::{Format, Style};
use tempfile::TempPath;

use crate::values::ColorArg;

/// Buffer of an output: lines are small, writes should not be.
const BUFFER: usize = 256 << 10;

/// Levels at which compression keeps up with the analysis.
const GZIP_LEVEL: u32 = 1;
const ZSTD_LEVEL: i32 = 3;

/// Who may read and write a new file, before umask.
const MODE: u32 = 0o666;

/// What the name of a file says of its compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

/// An output as it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// None is standard output.
    path: Option<PathBuf>,
    /// What goes there.
    pub format: Format,
    compression: Compression,
}

/// Pairs outputs with formats. A format before the name wins, `--format` is for
/// what says none, and alone it wins over the name.
///
/// # Errors
/// When a name says no format, or they contradict each other.
pub fn targets(outputs: &[OsString], format: Option<Format>) -> anyhow::Result<Vec<Target>> {
    if outputs.is_empty() {
        let format = format.unwrap_or_default();
        return Ok(vec![Target { path: None, format, compression: Compression::None }]);
    }
    let alone = outputs.len() == 1;
    let mut used = false;
    let mut all: Vec<Target> = Vec::new();
    for output in outputs {
        let (prefix, name) = split_prefix(output);
        ensure!(!name.is_empty(), "-o {}: the name is missing", output.display());
        let path = (name != "-").then(|| PathBuf::from(name));
        let (by_name, compression) = path.as_deref().map_or((None, Compression::None), by_name);
        let mut asked = || {
            used = true;
            format
        };
        let chosen = prefix
            .or_else(|| if alone { asked() } else { None })
            .or(by_name)
            .or_else(&mut asked)
            .or_else(|| path.is_none().then(Format::default));
        let Some(format) = chosen else { bail!(no_format(name)) };
        let is_new = all.iter().all(|other| other.path != path);
        ensure!(is_new, "-o {} is given twice", name.display());
        all.push(Target { path, format, compression });
    }
    if let Some(format) = format.filter(|_| !used) {
        bail!(
            "--format {0} is for none of the outputs, which all say theirs; \
             -o {0}:FILE is for one of several",
            format.name()
        );
    }
    Ok(all)
}

fn no_format(name: &OsStr) -> String {
    let extensions =
        Format::ALL.map(|format| format!(".{}", format.extensions().join(" ."))).join(" ");
    format!(
        "-o {0}: its name says no format: end it in one of {extensions} (.gz or .zst may come \
         behind), or name one: -o FORMAT:{0} or --format FORMAT, which is one of {1}",
        name.display(),
        Format::names(", ")
    )
}

/// Takes `FORMAT:` off.
fn split_prefix(output: &OsStr) -> (Option<Format>, &OsStr) {
    let bytes = output.as_bytes();
    let prefix = bytes.iter().position(|byte| *byte == b':').and_then(|colon| {
        let name = std::str::from_utf8(bytes.get(..colon)?).ok()?;
        Some((name.parse().ok()?, OsStr::from_bytes(bytes.get(colon + 1..)?)))
    });
    prefix.map_or((None, output), |(format, rest)| (Some(format), rest))
}

/// What the name of a file says.
fn by_name(path: &Path) -> (Option<Format>, Compression) {
    let extension = |path: &Path| path.extension().map(|e| e.to_string_lossy().to_lowercase());
    let compression = match extension(path).as_deref() {
        Some("gz") => Compression::Gzip,
        Some("zst") => Compression::Zstd,
        _ => Compression::None,
    };
    let inner = match compression {
        Compression::None => path.to_owned(),
        _ => path.with_extension(""),
    };
    (extension(&inner).and_then(|extension| Format::of_extension(&extension)), compression)
}

enum Encoder {
    Plain(BufWriter<Box<dyn Write>>),
    Gzip(GzEncoder<BufWriter<Box<dyn Write>>>),
    Zstd(zstd::Encoder<'static, BufWriter<Box<dyn Write>>>),
}

/// A file that is being written, or standard output.
pub struct Output {
    /// As the user named it.
    pub name: String,
    /// What goes there.
    pub format: Format,
    /// Whether it is standard output.
    pub is_stdout: bool,
    encoder: Encoder,
    /// Where it is until it is whole, and its place.
    renamed: Option<(TempPath, PathBuf)>,
}

impl Output {
    /// How text and log look in it, with so many rows in the main table.
    pub fn style(&self, color: ColorArg, rows: Option<usize>) -> Style {
        let mut style = if self.is_stdout { Style::for_stdout() } else { Style::default() };
        style.rows = rows.unwrap_or(style.rows);
        style.color = color.decide(self.is_stdout);
        style
    }

    /// Opens all outputs.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn open_all(targets: Vec<Target>) -> anyhow::Result<Vec<Self>> {
        let open = |target: Target| {
            let name = target.path.as_ref().map_or("-".to_owned(), |p| p.display().to_string());
            Self::open(target, name.clone()).with_context(|| format!("cannot write {name}"))
        };
        targets.into_iter().map(open).collect()
    }

    fn open(target: Target, name: String) -> io::Result<Self> {
        let Target { path, format, compression } = target;
        let is_stdout = path.is_none();
        let (out, renamed): (Box<dyn Write>, _) = match path {
            None => (Box::new(io::stdout().lock()), None),
            Some(path) if format.is_document() => beside(&path)?,
            Some(path) => (Box::new(File::create(path)?), None),
        };
        let out = BufWriter::with_capacity(BUFFER, out);
        let encoder = match compression {
            Compression::None => Encoder::Plain(out),
            Compression::Gzip => {
                Encoder::Gzip(GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL)))
            }
            Compression::Zstd => Encoder::Zstd(zstd::Encoder::new(out, ZSTD_LEVEL)?),
        };
        Ok(Self { name, format, is_stdout, encoder, renamed })
    }

    /// Writes what is left and puts the file into its place.
    ///
    /// # Errors
    /// When that cannot be done; then there is no new file, but for lines.
    pub fn finish(self) -> io::Result<()> {
        let mut out = match self.encoder {
            Encoder::Plain(out) => out,
            Encoder::Gzip(encoder) => encoder.finish()?,
            Encoder::Zstd(encoder) => encoder.finish()?,
        };
        out.flush()?;
        drop(out);
        match self.renamed {
            Some((temporary, place)) => Ok(temporary.persist(place)?),
            None => Ok(()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.encoder {
            Encoder::Plain(out) => out.write(bytes),
            Encoder::Gzip(out) => out.write(bytes),
            Encoder::Zstd(out) => out.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.encoder {
            Encoder::Plain(out) => out.write_vectored(slices),
            Encoder::Gzip(out) => out.write_vectored(slices),
            Encoder::Zstd(out) => out.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.encoder {
            Encoder::Plain(out) => out.flush(),
            Encoder::Gzip(out) => out.flush(),
            Encoder::Zstd(out) => out.flush(),
        }
    }
}

type Opened = (Box<dyn Write>, Option<(TempPath, PathBuf)>);

/// A temporary file beside a place, to be renamed to it. What is there and no
/// file (a device, a pipe) is written to as it is.
fn beside(path: &Path) -> io::Result<Opened> {
    let there = fs::metadata(path).ok();
    if there.as_ref().is_some_and(|there| !there.is_file()) || path.is_symlink() && there.is_none()
    {
        return Ok((Box::new(File::create(path)?), None));
    }
    // Of a link what it points to is replaced.
    let place = if there.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
    if there.is_some() {
        // What must not be written to must not be replaced either.
        fs::OpenOptions::new().write(true).open(&place)?;
    }
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mode = there.map_or(Permissions::from_mode(MODE), |there| there.permissions());
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".part")
        .permissions(mode)
        .tempfile_in(folder.unwrap_or(Path::new(".")));
    let (file, temporary) = temporary?.into_parts();
    Ok((Box::new(file), Some((temporary, place))))
}

/// What became of it, the worst last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ended {
    /// Nothing is missing.
    Whole,
    /// Something is missing.
    Part,
    /// There is nothing.
    Nothing,
}

impl Ended {
    /// The worse of both.
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }

    /// The exit code of the command.
    pub fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Ends all outputs, and says on standard error which could not be written.
pub fn finish(outputs: Vec<Output>, errors: Vec<Option<io::Error>>) -> Ended {
    let (mut failed, mut whole) = (false, Vec::new());
    let to_stdout = outputs.iter().any(|output| output.is_stdout);
    let count = outputs.len();
    for (output, error) in outputs.into_iter().zip(errors) {
        let name = output.name.clone();
        match error.map_or_else(|| output.finish(), Err) {
            Ok(()) => whole.push(name),
            // A reader of our output that has seen enough is no error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => {
                failed = true;
                let name = if name == "-" { "standard output" } else { &name };
                eprintln!("perisco: cannot write {name}: {error}");
            }
        }
    }
    match failed {
        false => {
            if !to_stdout && whole.len() == count {
                note(&whole);
            }
            Ended::Whole
        }
        true if whole.is_empty() => Ended::Nothing,
        true => Ended::Part,
    }
}

/// Says on a terminal what was written where, when nothing came out there.
fn note(outputs: &[String]) {
    if !outputs.is_empty() && io::stderr().is_terminal() {
        eprintln!("perisco: wrote {}", outputs.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(outputs: &[&str], format: Option<Format>) -> Result<Vec<(Format, String)>, String> {
        let outputs: Vec<_> = outputs.iter().map(OsString::from).collect();
        let targets = targets(&outputs, format).map_err(|error| error.to_string())?;
        let shown = |target: Target| {
            let path = target.path.map_or("-".into(), |path| path.display().to_string());
            let packed = match target.compression {
                Compression::None => "",
                Compression::Gzip => " gzip",
                Compression::Zstd => " zstd",
            };
            (target.format, path + packed)
        };
        Ok(targets.into_iter().map(shown).collect())
    }

    #[test]
    fn names_say_formats() {
        let found =
            resolved(&["a.txt", "b.JSON", "c.ndjson.zst", "d/e.csv.gz", "f.log", "-"], None);
        let expected = [
            (Format::Text, "a.txt"),
            (Format::Json, "b.JSON"),
            (Format::Jsonl, "c.ndjson.zst zstd"),
            (Format::Csv, "d/e.csv.gz gzip"),
            (Format::Log, "f.log"),
            (Format::Text, "-"),
        ];
        assert_eq!(found, Ok(expected.map(|(format, name)| (format, name.to_owned())).to_vec()));
        assert_eq!(resolved(&[], None), Ok(vec![(Format::Text, "-".to_owned())]));
        assert_eq!(resolved(&[], Some(Format::Log)), Ok(vec![(Format::Log, "-".to_owned())]));
    }

    #[test]
    fn what_is_asked_for_wins_over_a_name() {
        let one = |output, format| resolved(&[output], format).map(|all| all[0].clone());
        assert_eq!(one("a.csv", Some(Format::Jsonl)), Ok((Format::Jsonl, "a.csv".to_owned())));
        assert_eq!(one("jsonl:a.csv", None), Ok((Format::Jsonl, "a.csv".to_owned())));
        assert_eq!(one("json:-", None), Ok((Format::Json, "-".to_owned())));
        assert_eq!(one("out.zst", Some(Format::Csv)), Ok((Format::Csv, "out.zst zstd".to_owned())));
        // No format of ours, so a part of the name.
        assert_eq!(one("a:b.csv", None), Ok((Format::Csv, "a:b.csv".to_owned())));
        let several = resolved(&["a.csv", "-", "plain"], Some(Format::Log));
        let formats = several.map(|all| all.into_iter().map(|(format, _)| format).collect());
        assert_eq!(formats, Ok(vec![Format::Csv, Format::Log, Format::Log]));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (outputs, format, says) in [
            (&["report.pdf"][..], None, "-o report.pdf: its name says no format"),
            (&["a.csv", "plain"], None, "-o plain: its name says no format"),
            (&["a.csv", "a.csv"], None, "-o a.csv is given twice"),
            (&["-", "json:-"], None, "-o - is given twice"),
            (&["a.csv", "b.json"], Some(Format::Log), "--format log is for none of the outputs"),
            (&["csv:a"], Some(Format::Log), "--format log is for none of the outputs"),
            (&["csv:"], None, "-o csv:: the name is missing"),
            (&[""], None, "the name is missing"),
        ] {
            let error = resolved(outputs, format).unwrap_err();
            assert!(error.contains(says), "{outputs:?}: {error}");
        }
        let all = resolved(&["x"], None).unwrap_err();
        for format in Format::ALL {
            let extensions = format.extensions().iter().map(|e| format!(".{e}"));
            assert!(extensions.chain([format.name().into()]).all(|name| all.contains(&name)));
        }
    }
}
