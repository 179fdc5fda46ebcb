//! The flags of `perisco record`, and their way to the library's options.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use clap::{Args as ClapArgs, ValueEnum};
use perisco::record::backend::{Choice, Settings};
use perisco::record::change::Change;
use perisco::record::command::Prints;
use perisco::record::filter::{Comm, Exe, Filter, Net, Side};
use perisco::record::run::Options;
use perisco::record::selector::{Label, PodName, Selector};
use perisco::record::targets::Targets;
use perisco::record::writer::{Compression, Output, WriteOptions};

use super::config::Settled;
use super::confine::ConfineArgs;
use super::kube::KubeArgs;
use super::values;

/// The least that a ring buffer can be: a page, on most machines.
const PAGE_BYTES: usize = 4096;

/// gzip(1)'s own default is 6; zstd at 1 keeps up with any load and is not much larger than at 3.
const ZSTD_LEVEL: i32 = 1;

/// Write what applications say over TCP to a capture that Wireshark opens.
///
/// Watches sockets with eBPF: nothing is injected, delayed or changed. Ends
/// with Ctrl-C, --duration, --count, or the end of the COMMAND.
///
/// Exit code 0: recorded, nothing lost. 1: something was lost or writing
/// ended early; the summary says what, the file has what could be had.
/// 2: recording could not begin.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    perisco record -o cap.pcapng -- curl http://example.com/\n  \
    perisco record -o cap.pcapng --port 8080,9000-9010 --duration 30s\n  \
    perisco record -o - --comm nginx | perisco analyze -\n  \
    perisco record -o cap.pcapng -C 100MB -W 10        # the last gigabyte\n\n\
    Every long flag is also a key of the --config FILE (rotate-size = \"100MB\", port = [80, 8080])\n\
    and a variable (PERISCO_ROTATE_SIZE=100MB); flags beat variables, variables the file.")]
pub struct Args {
    /// Capture file; `-` is standard output, plain and flushed at once
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    #[command(flatten)]
    live: LiveArgs,

    #[command(flatten, next_help_heading = "Files")]
    files: FileArgs,

    #[command(flatten, next_help_heading = "For others")]
    pub agent: AgentArgs,

    #[command(flatten, next_help_heading = "Privileges")]
    confine: ConfineArgs,

    /// Only errors and losses on standard error
    #[arg(short, long)]
    pub quiet: bool,

    /// Also say what libbpf said
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,

    /// What the flags, variables and file came to.
    #[arg(skip)]
    pub settled: Settled,
}

/// What is recorded and how: the flags of all commands that record.
#[derive(ClapArgs)]
#[group(id = "live")]
pub struct LiveArgs {
    /// How to watch: `perisco doctor` says what this kernel grants
    #[arg(long, value_enum, default_value_t = BackEndArg::Auto)]
    backend: BackEndArg,

    #[command(flatten, next_help_heading = "What is recorded (all that is given must hold)")]
    filter: FilterArgs,

    #[command(flatten, next_help_heading = "Kubernetes")]
    kube: KubeArgs,

    #[command(flatten, next_help_heading = "How long")]
    until: UntilArgs,

    /// Buffer between kernel and recorder, rounded up to a power of two
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = crate::values::bytes)]
    buffer: usize,

    /// Record this command and its children until it ends
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, ValueEnum)]
enum BackEndArg {
    /// socket, else cgroup
    Auto,
    /// fentry programs at the socket calls
    Socket,
    /// cgroup_skb programs at the cgroup2 root
    Cgroup,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Connections that a local process opened
    Client,
    /// Connections that a local process accepted
    Server,
}

#[derive(ClapArgs)]
#[group(id = "recorded")]
struct FilterArgs {
    /// Processes, with the children they start
    #[arg(short, long, value_name = "PID", value_delimiter = ',')]
    pid: Vec<u32>,

    /// Processes by name as in /proc/PID/comm (at most 15 bytes)
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = values::comm)]
    comm: Vec<String>,

    /// Processes that run this file
    #[arg(long, value_name = "FILE")]
    exe: Vec<PathBuf>,

    /// Processes of a user: number or name
    #[arg(long, value_name = "USER", value_delimiter = ',', value_parser = values::user)]
    uid: Vec<u32>,

    /// Processes in a cgroup and those below, e.g. /system.slice/nginx.service, or its directory
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<PathBuf>,

    /// Processes of a container: beginning of its id or name, or its name in its pod
    #[arg(long, value_name = "ID|NAME", value_delimiter = ',')]
    container: Vec<String>,

    /// Pods of this node: [NAMESPACE/]NAME of a pod or its workload, * for any characters
    #[arg(long, value_name = "NS/NAME", value_delimiter = ',')]
    pod: Vec<PodName>,

    /// Pods of these namespaces
    #[arg(long, value_name = "NS", value_delimiter = ',')]
    namespace: Vec<String>,

    /// Pods with all these labels: key=value, key!=value, key, !key
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    label: Vec<Label>,

    /// Either port of the connection: 8080 or 9000-9010, separated by commas
    #[arg(long, value_name = "PORTS", value_delimiter = ',', value_parser = values::ports)]
    port: Vec<RangeInclusive<u16>>,

    /// Either address of the connection, IPv4 or IPv6
    #[arg(long, value_name = "CIDR", value_delimiter = ',', value_parser = values::net)]
    net: Vec<(IpAddr, u8)>,

    /// Network namespace: a name of `ip netns`, a path, or an inode number
    #[arg(long, value_name = "NETNS", value_parser = values::netns)]
    netns: Vec<u32>,

    /// Which end the local process is
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Option<RoleArg>,
}

#[derive(ClapArgs)]
#[group(id = "until-when")]
struct UntilArgs {
    /// Stop after this time, e.g. 30s, 5m; a bare number is seconds
    #[arg(short, long, value_name = "TIME", value_parser = values::time)]
    duration: Option<Duration>,

    /// Stop after this many packets
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

#[derive(ClapArgs)]
struct FileArgs {
    /// Keep this many bytes of each write or packet; 0 is all
    #[arg(short, long, value_name = "BYTES", default_value_t = 0)]
    snaplen: u32,

    /// Keep both copies of connections between processes of this host
    #[arg(long)]
    both_ends: bool,

    /// Begin a new file after this many bytes; a bare number is millions
    #[arg(short = 'C', long, value_name = "SIZE", value_parser = values::megabytes)]
    rotate_size: Option<u64>,

    /// Begin a new file after this time; a bare number is seconds
    #[arg(short = 'G', long, value_name = "TIME", value_parser = values::time)]
    rotate_time: Option<Duration>,

    /// Keep only the newest N files
    #[arg(short = 'W', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,

    /// Files of earlier recordings with this name count for --keep, too
    #[arg(long)]
    adopt: bool,

    /// Compression; standard output is never compressed
    #[arg(long, value_enum, default_value_t = CompressArg::Zstd)]
    compress: CompressArg,

    /// Level of zstd; 1 is the fastest [default: 1]
    #[arg(long, value_name = "N")]
    level: Option<i32>,

    /// Many zstd frames of this size, for parallel reading; needs Wireshark 4.4
    #[arg(long, value_name = "BYTES", value_parser = crate::values::bytes)]
    frame_size: Option<usize>,

    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

/// How others see that the recorder runs, and how well.
#[derive(ClapArgs)]
#[group(id = "agent")]
pub struct AgentArgs {
    /// Serve /metrics (Prometheus), /healthz and /readyz; a port alone is on localhost
    #[arg(long, value_name = "ADDR:PORT", value_parser = values::listen)]
    pub metrics: Option<SocketAddr>,

    /// Read settings from this TOML file: the long flags are its keys; SIGHUP reads it again
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressArg {
    Zstd,
    Gzip,
    None,
}

impl Args {
    /// The library's options.
    pub fn options(&self) -> anyhow::Result<Options> {
        if self.files.keep.is_some()
            && self.files.rotate_size.is_none()
            && self.files.rotate_time.is_none()
        {
            bail!("--keep needs --rotate-size or --rotate-time: without them there is one file");
        }
        if self.files.adopt && self.files.keep.is_none() {
            bail!("--adopt needs --keep: it says which files count for that");
        }
        let mut options = self.live.options(self.write_options()?)?;
        options.settings.snaplen = self.files.snaplen;
        options.settings.both_ends = self.files.both_ends;
        Ok(options)
    }

    /// What a recorder with these options may still do when it has begun.
    pub fn confine(&self, options: &mut Options) -> anyhow::Result<()> {
        let (kube, config) = (self.live.kube.options(), self.settled.file.as_deref());
        options.confine = self.confine.plan(options, &kube, config)?;
        Ok(())
    }

    /// The part of the options that may change while recording, for the flags
    /// that shall.
    pub fn change(&self, shall: impl Fn(&str) -> bool) -> anyhow::Result<Change> {
        let filter = self.live.filter.filter()?;
        let by_name =
            ["container", "cgroup", "pod", "namespace", "label"].iter().any(|key| shall(key));
        Ok(Change {
            pids: shall("pid").then_some(filter.pids),
            comms: shall("comm").then_some(filter.comms),
            exes: shall("exe").then_some(filter.exes),
            uids: shall("uid").then_some(filter.uids),
            nets: shall("net").then_some(filter.nets),
            netns: shall("netns").then_some(filter.netns),
            targets: by_name.then(|| self.live.filter.targets()),
            duration: shall("duration").then_some(self.live.until.duration),
        })
    }

    fn write_options(&self) -> anyhow::Result<WriteOptions> {
        let files = &self.files;
        let stdout = self.output == Path::new("-");
        if stdout && (files.rotate_size.is_some() || files.rotate_time.is_some()) {
            bail!("standard output cannot be rotated: give a file (-o cap.pcapng)");
        }
        if files.frame_size.is_some() && files.compress != CompressArg::Zstd {
            bail!("--frame-size is for --compress zstd: other files have no frames");
        }
        let output = if stdout { Output::Stdout } else { Output::File(self.output.clone()) };
        let compression = match files.compress {
            _ if stdout => Compression::None,
            CompressArg::Zstd => Compression::Zstd { level: files.level.unwrap_or(ZSTD_LEVEL) },
            CompressArg::Gzip => Compression::Gzip,
            CompressArg::None => Compression::None,
        };
        Ok(WriteOptions {
            compression,
            frame_size: files.frame_size.map(|size| size as u64),
            rotate_size: files.rotate_size,
            rotate_time: files.rotate_time,
            keep: files.keep,
            adopt: files.adopt,
            force: files.force,
            both_ends: files.both_ends,
            snaplen: files.snaplen,
            ..WriteOptions::new(output)
        })
    }
}

impl LiveArgs {
    /// The library's options for a recording that is written so.
    pub fn options(&self, write: WriteOptions) -> anyhow::Result<Options> {
        let settings = Settings {
            choice: match self.backend {
                BackEndArg::Auto => Choice::Auto,
                BackEndArg::Socket => Choice::Socket,
                BackEndArg::Cgroup => Choice::Cgroup,
            },
            buffer_bytes: self.buffer_bytes()?,
            filter: self.filter.filter()?,
            ..Settings::default()
        };
        let command_prints = match write.output {
            Output::Stdout => Prints::OnStderr,
            _ => Prints::Here,
        };
        let targets = self.filter.targets();
        let source = self.kube.source(!targets.pods.is_empty())?;
        Ok(Options {
            settings,
            write: self.kube.place(WriteOptions { packet_limit: self.until.count, ..write }),
            targets,
            source,
            duration: self.until.duration,
            command: self.command.clone(),
            command_prints,
            board: None,
            confine: None,
            threads: Vec::new(),
        })
    }

    /// The command that is to be recorded.
    #[cfg(feature = "top")]
    pub fn command(&self) -> &[OsString] {
        &self.command
    }

    /// The kernel takes powers of two, from a page on.
    fn buffer_bytes(&self) -> anyhow::Result<u32> {
        let size = self.buffer.max(PAGE_BYTES).checked_next_power_of_two();
        match size.and_then(|size| u32::try_from(size).ok()) {
            Some(size) => Ok(size),
            None => bail!("--buffer: at most 2GiB are possible"),
        }
    }
}

impl FilterArgs {
    fn targets(&self) -> Targets {
        Targets {
            containers: self.container.clone(),
            cgroups: self.cgroup.clone(),
            pods: Selector {
                pods: self.pod.clone(),
                namespaces: self.namespace.clone(),
                labels: self.label.clone(),
            },
        }
    }

    fn filter(&self) -> anyhow::Result<Filter> {
        Ok(Filter {
            pids: self.pid.clone(),
            comms: self.comm.iter().map(|name| Comm::new(name)).collect(),
            exes: self.exe.iter().map(|path| Exe::new(path)).collect::<Result<_, _>>()?,
            uids: self.uid.clone(),
            ports: self.port.clone(),
            nets: self
                .net
                .iter()
                .map(|&(address, prefix)| Net::new(address, prefix))
                .collect::<Result<_, _>>()?,
            netns: self.netns.clone(),
            role: self.role.map(|role| match role {
                RoleArg::Client => Side::Client,
                RoleArg::Server => Side::Server,
            }),
            ..Filter::default()
        })
    }
}
