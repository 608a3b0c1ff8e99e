use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn values(top: &Top<u16, u64>) -> HashMap<u16, u64> {
    top.shown().map(|(key, value)| (*key, *value)).collect()
}

fn count(top: &mut Top<u16, u64>, key: u16, amount: u64) {
    top.count(key, amount, |value| *value += amount);
}

#[test]
fn who_does_more_takes_a_place_and_who_comes_back_goes_on() {
    let mut top = Top::new(1);
    count(&mut top, 1, 10);
    count(&mut top, 2, 100);
    assert_eq!((values(&top), *top.others()), ([(1, 10)].into(), 100));
    top.rotate();
    assert_eq!(values(&top), [(2, 0)].into());
    count(&mut top, 2, 7);
    count(&mut top, 1, 1_000);
    assert_eq!((values(&top), *top.others()), ([(2, 7)].into(), 1_100));
    top.rotate();
    assert_eq!(values(&top), [(1, 10)].into());
}

#[test]
fn a_place_is_kept_by_who_does_little_while_others_do_no_more() {
    let mut top = Top::new(1);
    count(&mut top, 1, 100);
    count(&mut top, 2, 110);
    top.rotate();
    assert_eq!(values(&top), [(1, 100)].into());
    for _ in 0..100 {
        top.rotate();
    }
    assert_eq!(values(&top), [(1, 100)].into());
}

#[test]
fn one_of_a_flood_of_names_that_does_much_is_found() {
    let mut top = Top::new(2);
    count(&mut top, 0, 1);
    count(&mut top, 1, 1);
    for name in 2..50_000 {
        count(&mut top, name, 1);
        if name % 50 == 0 {
            count(&mut top, 1_000, 1);
        }
        assert!(top.watched.len() <= MIN_WATCHED);
    }
    top.rotate();
    assert!(values(&top).contains_key(&1_000), "{:?}", values(&top));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Count(u16, u64),
    Turn,
}

fn steps(names: u16) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        9 => (0..names, 0_u64..100).prop_map(|(name, amount)| Step::Count(name, amount)),
        1 => Just(Step::Turn),
    ];
    prop::collection::vec(step, 0..300)
}

proptest! {
    /// With few names, all hidden values are kept.
    #[test]
    fn nothing_is_lost_and_no_series_goes_back(limit in 1_usize..5, steps in steps(5)) {
        let mut top = Top::new(limit);
        let (mut total, mut last, mut others) = (0, HashMap::new(), 0);
        for step in steps {
            match step {
                Step::Count(name, amount) => {
                    total += amount;
                    count(&mut top, name, amount);
                }
                Step::Turn => top.rotate(),
            }
            let now = values(&top);
            prop_assert!(now.len() <= limit);
            for (name, value) in &now {
                prop_assert!(value >= last.get(name).unwrap_or(&0), "{name}: {value}");
            }
            prop_assert!(*top.others() >= others);
            others = *top.others();
            last.extend(now.clone());
            let hidden: u64 = top.hidden.values().map(|hidden| hidden.value).sum();
            prop_assert_eq!(now.values().sum::<u64>() + hidden + others, total);
        }
    }

    #[test]
    fn memory_is_bounded_and_none_goes_back_while_it_is_shown(
        limit in 1_usize..4,
        steps in steps(2_000),
    ) {
        let mut top = Top::new(limit);
        let mut last = HashMap::new();
        for step in steps {
            match step {
                Step::Count(name, amount) => count(&mut top, name, amount),
                Step::Turn => top.rotate(),
            }
            let now = values(&top);
            prop_assert!(now.len() <= limit);
            prop_assert!(top.hidden.len() <= limit * HIDDEN_FOR_EACH);
            prop_assert!(top.watched.len() <= top.max_watched());
            for (name, value) in &now {
                prop_assert!(value >= last.get(name).unwrap_or(&0), "{name}: {value}");
            }
            last = now;
        }
    }
}
