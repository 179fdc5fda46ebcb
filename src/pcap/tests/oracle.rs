//! Whatever pcap-file writes is read back the same, and as pcap-file reads it.

use std::borrow::Cow;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapTsResolution, PcapWriter};
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::{Block, PcapNgReader, PcapNgWriter};
use pcap_file::{DataLink, Endianness};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Made {
    interface: usize,
    nanos: u64,
    data: Vec<u8>,
    cut: u32,
    comment: Option<String>,
}

fn made() -> impl Strategy<Value = Made> {
    (
        0..3usize,
        0..4_000_000_000_000_000_000u64,
        vec(any::<u8>(), 0..200),
        prop_oneof![Just(0), 0..2000u32],
        proptest::option::weighted(0.2, "[a-z ]{0,20}"),
    )
        .prop_map(|(interface, nanos, data, cut, comment)| Made {
            interface,
            nanos,
            data,
            cut,
            comment,
        })
}

fn endianness(big: bool) -> Endianness {
    if big { Endianness::Big } else { Endianness::Little }
}

fn expected(made: &Made, unit: u64, interface: u32) -> Packet {
    Packet {
        bytes: made.data.clone(),
        original: made.data.len() as u32 + made.cut,
        interface,
        nanos: Some((made.nanos / unit * unit) as i64),
    }
}

/// A window so small that packets straddle windows all the time.
fn read_mapped(bytes: &[u8]) -> Everything {
    let file = file_of(bytes);
    let options = OpenOptions { window_bytes: Some(1000), ..OpenOptions::default() };
    Everything::read(&mut Capture::open(vec![path_input(&file)], options).unwrap())
}

proptest! {
    #[test]
    fn pcap(packets in vec(made(), 0..60), big: bool, nano: bool) {
        let header = PcapHeader {
            endianness: endianness(big),
            datalink: DataLink::ETHERNET,
            ts_resolution: if nano { PcapTsResolution::NanoSecond } else { PcapTsResolution::MicroSecond },
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
        for made in &packets {
            let original = made.data.len() as u32 + made.cut;
            let packet = PcapPacket::new(Duration::from_nanos(made.nanos), original, &made.data[..]);
            writer.write_packet(&packet.unwrap()).unwrap();
        }
        let bytes = writer.into_inner();
        let all = Everything::of(bytes.clone());
        let unit = if nano { 1 } else { 1000 };
        let wanted: Vec<Packet> = packets.iter().map(|made| expected(made, unit, 0)).collect();
        prop_assert_eq!(&all.packets, &wanted);
        prop_assert_eq!(&all.damage, &[]);
        prop_assert_eq!(read_mapped(&bytes).packets, wanted);
        // The oracle reads the same.
        let mut reader = PcapReader::new(&bytes[..]).unwrap();
        for packet in &all.packets {
            let theirs = reader.next_packet().unwrap().unwrap();
            prop_assert_eq!(Some(theirs.timestamp().as_nanos() as i64), packet.nanos);
            prop_assert_eq!(theirs.data(), &packet.bytes);
        }
    }

    #[test]
    fn pcapng(packets in vec(made(), 0..60), big: bool, resolutions: [bool; 3]) {
        let mut writer = PcapNgWriter::with_endianness(Vec::new(), endianness(big)).unwrap();
        for nano in resolutions {
            let resolution = InterfaceDescriptionOption::IfTsResol(match nano {
                true => InterfaceTsResolution::NANO,
                false => InterfaceTsResolution::MICRO,
            });
            writer.write_pcapng_block(InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: 0,
                options: vec![InterfaceDescriptionOption::IfName("x".into()), resolution],
            }).unwrap();
        }
        for made in &packets {
            let comment = made.comment.as_ref().map(|text| {
                EnhancedPacketOption::Common(CommonOption::Comment(Cow::Borrowed(text)))
            });
            writer.write_pcapng_block(EnhancedPacketBlock {
                interface_id: made.interface as u32,
                timestamp: Duration::from_nanos(made.nanos),
                original_len: made.data.len() as u32 + made.cut,
                data: Cow::Borrowed(&made.data),
                options: comment.into_iter().collect(),
            }).unwrap();
        }
        let bytes = writer.into_inner();
        let all = Everything::of(bytes.clone());
        let wanted: Vec<Packet> = packets.iter().map(|made| {
            let unit = if resolutions[made.interface] { 1 } else { 1000 };
            expected(made, unit, made.interface as u32)
        }).collect();
        prop_assert_eq!(&all.packets, &wanted);
        prop_assert_eq!(&all.damage, &[]);
        let comments: Vec<(usize, String)> = packets.iter().enumerate()
            .filter_map(|(index, made)| Some((index, made.comment.clone()?)))
            .collect();
        prop_assert_eq!(&all.comments, &comments);
        let mapped = read_mapped(&bytes);
        prop_assert_eq!((mapped.packets, mapped.comments), (wanted, comments));
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let mut ours = all.packets.iter();
        while let Some(block) = reader.next_block() {
            if let (Block::EnhancedPacket(theirs), _) = block.unwrap() {
                let ours = ours.next().unwrap();
                prop_assert_eq!(Some(theirs.timestamp.as_nanos() as i64), ours.nanos);
                prop_assert_eq!(&*theirs.data, &ours.bytes[..]);
            }
        }
        prop_assert_eq!(ours.count(), 0);
    }
}
