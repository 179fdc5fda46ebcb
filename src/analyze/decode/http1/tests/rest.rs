//! A decoder at rest is one that has seen nothing, and what it came to.

use proptest::prelude::*;

use super::properties::{rounds, steps};
use super::*;

/// Transactions and events in full; at each rest it becomes another decoder,
/// if `wake`. How often it came to rest.
fn told(late: Late, steps: &[Step], wake: bool, log: bool) -> (String, usize) {
    let mut run = Run::new(late);
    run.wants.log = log;
    let mut rests = 0;
    for step in steps.iter().chain(&both(End::Fin)) {
        run.push(step);
        if let Some(rest) = run.decoder.rest() {
            assert_eq!(run.decoder.oldest_open(), None, "something is open");
            rests += 1;
            if wake {
                run.decoder = (PROTOCOL.decoder)(Late::default());
                run.decoder.wake(rest);
            }
        }
    }
    (format!("{:?} {:?}", run.output.transactions, run.output.events), rests)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn it_goes_on_as_another(
        rounds in rounds(3),
        sizes in prop::collection::vec(1usize..200, 1..20),
        late in any::<[bool; 2]>(),
        hole in prop::option::of((any::<bool>(), 0usize..400, 1usize..100)),
        log in any::<bool>(),
    ) {
        let hole = hole.map(|(way, from, len)| {
            (if way { ToServer } else { ToClient }, from, from + len)
        });
        let steps = steps(&rounds, &sizes, hole);
        let (one, rests) = told(Late(late), &steps, true, log);
        let (two, _) = told(Late(late), &steps, false, log);
        prop_assert_eq!(one, two);
        let whole = hole.is_none() && late == [false; 2];
        prop_assert!(!whole || rests > 0, "never at rest");
    }
}
