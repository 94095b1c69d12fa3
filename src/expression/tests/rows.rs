//! What a row gets does not depend on the rows beside it.

use super::{
    batches::{Random, random_batch, random_text},
    *,
};

/// Compares the whole batch with each row alone; whether the text compiled.
fn same_alone_and_together(seed: u64) -> bool {
    let mut random = Random(seed);
    let kind = random.pick(&['n', 'b', 's', 't', 'n', 'b']);
    let depth = 1 + random.below(4);
    let text = random_text(&mut random, kind, depth);
    let batch = random_batch(&mut random, 24);
    let Ok(expression) = compile(&text) else {
        return false;
    };
    let together = shown(&expression.evaluate(&batch));
    let alone: Vec<String> =
        (0..batch.num_rows()).flat_map(|row| shown(&expression.evaluate(&batch.slice(row, 1)))).collect();
    assert_eq!(together, alone, "seed {seed}: {text}");
    // And as part of other batches.
    let part = shown(&expression.evaluate(&batch.slice(7, 11)));
    assert_eq!(part, together[7..18], "seed {seed}: {text}");
    true
}

#[test]
fn a_row_has_the_same_value_alone_and_in_any_batch() {
    let compiled = (0..6000).filter(|seed| same_alone_and_together(*seed)).count();
    assert!(compiled > 2500, "only {compiled} of the random texts compile");
}

proptest::proptest! {
    #[test]
    fn a_row_has_the_same_value_alone_and_in_any_batch_of_any_seed(seed: u64) {
        same_alone_and_together(seed);
    }
}
