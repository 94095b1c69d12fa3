//! Random batches and texts, from a seed.

use arrow::datatypes::DataType as Arrow;

use super::*;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const INTEGERS: [i64; 10] = [0, 1, -1, 2, 3, -7, 100, i64::MAX, i64::MIN, 1 << 40];
const FLOATS: [f64; 12] =
    [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.25, 1e308, -1e308, 1e-300, f64::INFINITY, f64::NAN];
const TEXTS: [&str; 8] = ["", "a", "b", "ab", "42", "-7.5", "Ünit", "true"];
const TIMES: [i64; 6] = [0, -1, 1_357_017_300_250_000, i64::MAX, i64::MIN, 86_400_000_000];

/// A batch of [`inputs`]; about one value in six is null.
pub(super) fn random_batch(random: &mut Random, rows: usize) -> RecordBatch {
    let inputs = inputs();
    let columns = inputs.iter().map(|input| random_column(random, &input.data_type, rows)).collect();
    let fields: Vec<Field> =
        inputs.iter().map(|input| Field::new(&input.name, input.data_type.arrow(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn random_column(random: &mut Random, data_type: &DataType, rows: usize) -> ArrayRef {
    fn each<T>(random: &mut Random, rows: usize, mut make: impl FnMut(&mut Random) -> T) -> Vec<Option<T>> {
        (0..rows)
            .map(|_| {
                let value = make(random);
                (random.below(6) > 0).then_some(value)
            })
            .collect()
    }
    match data_type {
        DataType::Bool => Arc::new(BooleanArray::from(each(random, rows, |r| r.below(2) == 0))),
        DataType::Int32 => {
            let values = [0, 1, -1, 5, i32::MAX, i32::MIN];
            Arc::new(Int32Array::from(each(random, rows, |r| r.pick(&values))))
        }
        DataType::Int64 => Arc::new(Int64Array::from(each(random, rows, |r| r.pick(&INTEGERS)))),
        DataType::Float32 => {
            Arc::new(Float32Array::from(each(random, rows, |r| r.pick(&[0.0, -1.5, 0.1, f32::MAX]))))
        }
        DataType::Float64 => Arc::new(Float64Array::from(each(random, rows, |r| r.pick(&FLOATS)))),
        DataType::Timestamp => {
            let values = each(random, rows, |r| r.pick(&TIMES));
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
        }
        DataType::Array(_) | DataType::Vector(_) => {
            let lists = each(random, rows, |r| {
                let length = if r.below(8) == 0 { r.below(4) } else { 3 };
                (0..length)
                    .map(|_| (r.below(20) > 0).then(|| r.pick(&[0.0_f32, 1.0, -2.5, f32::MAX])))
                    .collect::<Vec<_>>()
            });
            let list = ListArray::from_iter_primitive::<Float32Type, _, _>(lists);
            let (_, offsets, values, nulls) = list.into_parts();
            let field = Arc::new(Field::new("element", Arrow::Float32, true));
            Arc::new(ListArray::new(field, offsets, values, nulls))
        }
        _ => Arc::new(StringArray::from(each(random, rows, |r| r.pick(&TEXTS)))),
    }
}

/// A random text over [`inputs`], mostly of types that fit, of all that the grammar has.
pub(super) fn random_text(random: &mut Random, kind: char, depth: usize) -> String {
    if depth == 0 || random.below(8) == 0 {
        return random
            .pick(match kind {
                'n' => &["a", "b", "i", "x", "y", "f", "year", "0", "1", "-3", "2.5", "1e300", "NULL"][..],
                'b' => &["p", "q", "TRUE", "FALSE", "NULL", "p", "q"],
                's' => &["s", "u", "s", "u", "j", "'a'", "''", "'4_%'", "NULL"],
                't' => &["at", "at", "timestamp '2024-02-29T12:00:00Z'", "NULL"],
                _ => &["v", "w", "v"],
            })
            .to_owned();
    }
    let template = random.pick(match kind {
        'n' => &[
            "(n + n)",
            "(n - n)",
            "(n * n)",
            "(n / n)",
            "n % n",
            "-n",
            "CAST(n AS int)",
            "CAST(n AS double)",
            "CAST(s AS bigint)",
            "TRY_CAST(s AS double)",
            "CAST(b AS int)",
            "CAST(n AS real)",
            "coalesce(n, n)",
            "nullif(n, n)",
            "CASE WHEN b THEN n ELSE n END",
            "CASE n WHEN n THEN n WHEN n THEN n END",
            "greatest(n, n)",
            "least(n, n)",
            "abs(n)",
            "sqrt(n)",
            "ln(n)",
            "power(n, n)",
            "round(n, 2)",
            "floor(n)",
            "ceil(n)",
            "exp(n)",
            "log(n, n)",
            "atan2(n, n)",
            "acos(n)",
            "sign(n)",
            "trunc(n)",
            "nanvl(x, y)",
            "mod(n, n)",
            "length(s)",
            "ascii(s)",
            "strpos(s, s)",
            "octet_length(s)",
            "date_part('dow', t)",
            "extract(epoch from t)",
            "extract(year from t)",
            "dot(v, v)",
            "cosine_similarity(v, v)",
            "l2_distance(v, v)",
            "round(n, i)",
        ][..],
        'b' => &[
            "(b AND b)",
            "(b OR b)",
            "NOT b",
            "(n < n)",
            "(n = n)",
            "(n >= n)",
            "(s = s)",
            "(s < s)",
            "(t <= t)",
            "n IS NULL",
            "b IS NOT NULL",
            "b IS TRUE",
            "b IS NOT FALSE",
            "b IS UNKNOWN",
            "n IN (n, 1, 2, n)",
            "s IN ('a', '42', s)",
            "s NOT IN ('a', 'b')",
            "n BETWEEN n AND n",
            "t NOT BETWEEN t AND t",
            "n IS DISTINCT FROM n",
            "s IS NOT DISTINCT FROM s",
            "s LIKE '%a%'",
            "s ILIKE 'ü_it'",
            "s NOT LIKE '4_'",
            "starts_with(s, s)",
            "contains(s, s)",
            "isnan(x / n)",
            "CASE WHEN b THEN b ELSE b END",
            "CAST(s AS boolean)",
            "coalesce(b, b)",
            "CAST(a AS boolean)",
        ],
        's' => &[
            "(s || s)",
            "concat(s, s, s)",
            "upper(s)",
            "lower(s)",
            "substr(s, a)",
            "substr(s, a, b)",
            "left(s, b)",
            "right(s, a)",
            "trim(s)",
            "ltrim(s, s)",
            "replace(s, s, s)",
            "reverse(s)",
            "split_part(s, s, b)",
            "split_part(s, 'n', 1)",
            "CAST(n AS string)",
            "CAST(t AS string)",
            "CASE WHEN b THEN s ELSE s END",
            "coalesce(s, s)",
            "nullif(s, s)",
            "initcap(s)",
            "chr(a)",
            "to_hex(a)",
            "translate(s, 'ab', s)",
            "substring(s from 2)",
        ],
        't' => &[
            "(t + interval '1 month')",
            "(t - interval '90 minutes')",
            "date_trunc('hour', t)",
            "date_trunc('week', t)",
            "to_timestamp_micros(a)",
            "to_timestamp_seconds(b)",
            "coalesce(t, t)",
            "CASE WHEN b THEN t ELSE t END",
            "CAST(s AS timestamp)",
            "TRY_CAST(s AS timestamp)",
        ],
        _ => &["coalesce(v, v)", "CASE WHEN b THEN v ELSE v END", "v"],
    });
    // Single letters of the kinds stand for parts, except within words and quotes.
    let mut made = String::new();
    let characters: Vec<char> = template.chars().collect();
    let mut quoted = false;
    for (i, c) in characters.iter().enumerate() {
        quoted ^= *c == '\'';
        let is_word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric() || *c == '_');
        let alone = !is_word(characters.get(i + 1)) && (i == 0 || !is_word(characters.get(i - 1)));
        match c {
            'n' | 's' | 't' | 'v' if alone && !quoted => made.push_str(&random_text(random, *c, depth - 1)),
            // The columns a and b serve as counts of characters; b is a condition elsewhere.
            'b' if alone && !quoted && kind != 's' && !template.contains("(b)") => {
                made.push_str(&random_text(random, 'b', depth - 1));
            }
            'b' if alone && !quoted && template.contains("WHEN b") => {
                made.push_str(&random_text(random, 'b', depth - 1));
            }
            other => made.push(*other),
        }
    }
    made
}
