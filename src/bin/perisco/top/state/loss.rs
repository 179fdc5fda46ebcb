//! What is missing, as the header and the last line say it.

use perisco::analyze::report::text::units::{count, coverage, plural, size};
use perisco::analyze::watch::{Coverage, Progress};

/// All that is known to be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loss {
    /// Packets or events that the capturer says it lost.
    pub drops: u64,
    /// Packets cut by the snap length.
    pub cut_packets: u64,
    /// Inputs that are damaged.
    pub damaged: u64,
    /// Events that a recorder says it lost; most are among `drops` a moment later.
    pub recorder: u64,
    /// How much of the payload was there.
    pub coverage: Coverage,
    /// What ended recording or reading early.
    pub trouble: Vec<String>,
}

impl Loss {
    /// Takes over what a round has told.
    pub fn take(&mut self, progress: &Progress) {
        let Progress { drops, cut_packets, damaged, .. } = *progress;
        (self.drops, self.cut_packets, self.damaged) = (drops, cut_packets, damaged);
    }

    /// What is missing, the worst first; empty where nothing is known to be.
    pub fn parts(&self) -> Vec<String> {
        let mut parts = self.trouble.clone();
        let mut say = |is: u64, text: String| {
            if is > 0 {
                parts.push(text);
            }
        };
        let Coverage { gap_bytes, gaps, limits, .. } = self.coverage;
        say(self.damaged, "THE CAPTURE IS DAMAGED".to_owned());
        let lost = self.drops.max(self.recorder);
        say(lost, format!("LOST {} on the way", plural(lost, "packet", "packets")));
        let missing =
            if gap_bytes < 1000 { plural(gap_bytes, "byte", "bytes") } else { size(gap_bytes) };
        say(gap_bytes, format!("MISSING {missing} in {}", plural(gaps, "gap", "gaps")));
        say(self.cut_packets, format!("CUT {}", plural(self.cut_packets, "packet", "packets")));
        say(limits, format!("LIMITS reached {}", plural(limits, "time", "times")));
        parts
    }

    /// How much of the payload was there; None before there was any.
    pub fn coverage_text(&self) -> Option<String> {
        let Coverage { payload_bytes, gap_bytes, .. } = self.coverage;
        let all = payload_bytes.saturating_add(gap_bytes);
        let of = if all < 1000 { format!("{} bytes", count(all)) } else { size(all) };
        (all > 0).then(|| format!("{} of {of} of payload", coverage(payload_bytes, gap_bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_said() {
        let mut loss = Loss::default();
        assert!(loss.parts().is_empty());
        assert_eq!(loss.coverage_text(), None);
        loss.coverage = Coverage { payload_bytes: 999, gap_bytes: 1, gaps: 1, limits: 0 };
        assert_eq!(loss.parts(), ["MISSING 1 byte in 1 gap"]);
        assert_eq!(loss.coverage_text().unwrap(), "99.90% of 1.00 kB of payload");
        loss.take(&Progress { drops: 2, cut_packets: 3, damaged: 1, ..Progress::default() });
        loss.coverage.limits = 4;
        loss.trouble.push("recording ended early".to_owned());
        assert_eq!(
            loss.parts(),
            [
                "recording ended early",
                "THE CAPTURE IS DAMAGED",
                "LOST 2 packets on the way",
                "MISSING 1 byte in 1 gap",
                "CUT 3 packets",
                "LIMITS reached 4 times",
            ]
        );
    }
}
