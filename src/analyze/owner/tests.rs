use super::*;
use crate::pcap::LinkType;

fn interface(application: Option<&str>, name: &str, description: &str) -> Interface {
    Interface {
        file: 0,
        section: 0,
        application: application.map(Arc::from),
        notes: None,
        name: Some(name.to_owned()),
        description: Some(description.to_owned()),
        link: LinkType(1),
        snaplen: 0,
    }
}

fn comment(text: &str, outbound: Option<bool>) -> Comment {
    Comment { packet: 0, text: text.to_owned(), outbound }
}

#[test]
fn descriptions_are_read_leniently() {
    let read = |text| Process::read(text);
    let full = "pid=7 comm=a%20b%25%zz%e9 exe=/bin/a uid=0 new=1 container=abc =x junk ";
    let process = read(full).unwrap();
    assert_eq!((process.pid, process.uid), (Some(7), Some(0)));
    assert_eq!(process.comm.as_deref(), Some("a b%%zz\u{fffd}"));
    assert_eq!(process.container.as_deref(), Some("abc"));
    assert_eq!(process.label().as_deref(), Some("a b%%zz\u{fffd}[7]"));
    assert_eq!(read("pid=-1 comm= uid=99999999999 "), None);
    assert_eq!(read(""), None);
    let long = format!("exe={} ", "x".repeat(VALUE_BYTES + 9));
    assert_eq!(read(&long).unwrap().exe.unwrap().len(), VALUE_BYTES);
}

fn note(
    registry: &mut Registry,
    on: &Interface,
    text: &str,
    outbound: Option<bool>,
) -> Option<Note> {
    let mut notes = Vec::new();
    registry.note(1, Some(on), comment(text, outbound), &mut notes);
    assert!(notes.len() < 2);
    notes.pop().map(|(_, note)| note)
}

fn is_comment(note: Option<Note>, expected: &str) -> bool {
    matches!(note, Some(Note::Comment(text)) if text == expected)
}

#[test]
fn only_sections_of_perisco_name_owners() {
    let mut registry = Registry::default();
    let own = interface(Some("perisco 0.1.0"), "host/curl[7]", "pid=7 comm=curl ");
    registry.describe(0, &own);
    for other in [None, Some("periscope 1"), Some("dumpcap")] {
        let other = interface(other, "host/curl[7]", "pid=7 comm=curl ");
        let text = "client=host/curl[7]";
        assert!(is_comment(note(&mut registry, &other, text, None), text));
        let text = "client.pod=shop/frontend";
        assert!(is_comment(note(&mut registry, &other, text, None), text));
    }
    let registry = &mut registry;
    let said = note(registry, &own, "client=host/curl[7]", Some(true));
    let Some(Note::Owner(owner)) = said else { panic!("{said:?}") };
    assert_eq!((owner.role, owner.client_sends), (Role::Client, Some(true)));
    assert_eq!(owner.process.unwrap().process.as_ref().unwrap().pid, Some(7));
    assert!(note(registry, &own, "joined=midway", None).is_none());
    for text in ["look=here", "client.mood=good", "server.pod=uid", "client.pod=/x", "a.pod=b/c"] {
        assert!(is_comment(note(registry, &own, text, None), text), "{text}");
    }
    // The same name in another section stands for nothing there.
    let later = Interface { section: 1, ..own };
    let said = note(registry, &later, "client=host/curl[7]", None);
    assert!(matches!(said, Some(Note::Owner(Owner { process: None, .. }))), "{said:?}");
}

#[test]
fn an_owner_holds_from_its_packet_on() {
    let local = |pid| {
        let process = Some(Process { pid: Some(pid), ..Process::default() });
        Some(Arc::new(Local { process, container: Arc::default() }))
    };
    let owner = |role, pid, client_sends| Owner { role, process: local(pid), client_sends };
    let mut owners = Owners::default();
    let pid = |owners: &Owners, side, packet| owners.end(side, packet, packet).process?.pid;
    // The server's packet, on the server's interface.
    owners.keep(&owner(Role::Server, 1, Some(false)), 5, Side::A, None, Side::A);
    owners.keep(&owner(Role::Client, 2, Some(true)), 5, Side::A, None, Side::A);
    owners.keep(&owner(Role::Server, 3, None), 9, Side::B, None, Side::A);
    assert_eq!(pid(&owners, Side::A, 4), Some(1));
    assert_eq!(pid(&owners, Side::A, 8), Some(1));
    assert_eq!(pid(&owners, Side::A, 9), Some(3));
    assert_eq!(pid(&owners, Side::B, 9), Some(2));
    for packet in 10..1000 {
        owners.keep(&owner(Role::Server, 4, None), packet, Side::B, None, Side::A);
    }
    assert!(owners.changes.len() <= CHANGES_PER_FLOW);
    assert_eq!(pid(&owners, Side::A, 1000), Some(4));
}

#[test]
fn places_are_read_leniently() {
    let read = |text| Place::read(text);
    let full = "pid=7 pod=shop/a%20b namespace=shop pod_uid=u1 container_name=app \
                workload=Deployment/a labels=tier=web,app=a,junk,=x,app=b,c= ";
    let place = read(full).unwrap();
    assert_eq!(place.pod.unwrap().to_string(), "shop/a b");
    let workload = place.workload.unwrap();
    assert_eq!((workload.kind.as_str(), workload.name.as_str()), ("Deployment", "a"));
    assert_eq!(workload.namespace.as_deref(), Some("shop"));
    let labels = [("app", "a"), ("c", ""), ("tier", "web")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(place.labels.as_deref(), Some(&labels[..]));
    // Before there were names, the pod was its uid.
    assert_eq!(read("pid=7 pod=0f7e0a64-0001 "), None);
    assert_eq!(read("pod=/x workload=Deployment pod_uid= "), None);
    assert_eq!(read("namespace=shop ").unwrap().namespace.as_deref(), Some("shop"));
    let long = format!("pod_uid={} labels={} ", "\u{fc}".repeat(9000), "k=v,".repeat(9000));
    let place = read(&long).unwrap();
    assert_eq!(place.pod_uid.unwrap().len(), 512);
    let many: String = (0..9000).map(|n| format!("k{n}={},", "v".repeat(60))).collect();
    let labels = read(&format!("labels={many} ")).unwrap().labels.unwrap();
    assert_eq!(labels.len(), 64);
    assert!(labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() <= 4096);
}

#[test]
fn what_is_said_of_an_end_is_bounded_and_the_last_holds() {
    let mut owners = Owners::default();
    let place = |node: String| Arc::new(Place { node: Some(node), ..Place::default() });
    let pod = Place { pod_uid: Some("u".to_owned()), ..Place::default() };
    owners.keep_place((Role::Server, &Arc::new(pod)), 1, Side::A, Some(true), Side::A);
    for packet in 2..1000 {
        let said = place(packet.to_string());
        owners.keep_place((Role::Server, &said), packet, Side::A, None, Side::A);
        // Said again, it is nothing new.
        owners.keep_place((Role::Server, &said), packet, Side::B, None, Side::A);
    }
    assert!(owners.places.len() <= CHANGES_PER_FLOW);
    let end = owners.end(Side::B, 1000, 999);
    assert_eq!((end.node(), end.pod_uid()), (Some("999"), Some("u")));
    assert_eq!(owners.end(Side::B, 1000, 980).node(), Some("980"));
    assert!(!owners.end(Side::A, 1000, 1000).is_named());
}

#[test]
fn the_best_name_of_an_end_is_its_workload() {
    let mut said = Place::default();
    let mut name = |key: &str, value: &str| {
        assert!(said.take(key, value));
        let end = End { said: Some(&said), ..End::default() };
        (end.name().unwrap().to_string(), end.service_text())
    };
    let service = |name: &str| Some(name.to_owned());
    assert_eq!(name("node", "worker-1"), ("node worker-1".to_owned(), None));
    assert_eq!(name("service", "shop/cart"), ("Service shop/cart".to_owned(), None));
    assert_eq!(name("pod", "bank/cart-1"), ("bank/cart-1".to_owned(), service("shop/cart")));
    let workload = name("workload", "shop/Deployment/carts");
    assert_eq!(workload, ("shop/carts".to_owned(), service("cart")));
}
