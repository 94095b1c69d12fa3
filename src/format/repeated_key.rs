//! Keys that a JSON object has twice. Readers differ in which of the two they take, so both are refused.

use std::{collections::HashSet, fmt, fmt::Write as _};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::{json::Key, text::shorten};

/// Keys of an object that are compared one by one; further ones are hashed.
const FEW: usize = 16;

/// Names the first key that an object of `text` has twice, and where: "`entities[3]` has the key `k` twice".
///
/// None where there is none, or where the text is not JSON. Objects nested more than 127 deep are taken for wrong JSON.
pub fn repeated_key(text: &str) -> Option<String> {
    if !text.contains('{') {
        return None;
    }
    let (mut path, mut found) = (Vec::new(), None);
    let mut json = serde_json::Deserializer::from_str(text);
    let _ = Walk { path: &mut path, found: &mut found }.deserialize(&mut json);
    found
}

enum Step {
    Key(String),
    Item(usize),
}

struct Walk<'w> {
    path: &'w mut Vec<Step>,
    found: &'w mut Option<String>,
}

impl Walk<'_> {
    fn inner(&mut self) -> Walk<'_> {
        Walk { path: self.path, found: self.found }
    }

    fn report(&mut self, key: &str) {
        let mut place = String::new();
        for step in self.path.iter() {
            let written = match step {
                Step::Key(key) if place.is_empty() => write!(place, "{}", shorten(key)),
                Step::Key(key) => write!(place, ".{}", shorten(key)),
                Step::Item(at) => write!(place, "[{at}]"),
            };
            written.expect("a String takes all text");
        }
        let place = if place.is_empty() { "the object".to_owned() } else { format!("`{place}`") };
        *self.found = Some(format!("{place} has the key `{}` twice", shorten(key)));
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let (mut few, mut many) = (Vec::new(), HashSet::new());
        while let Some(Key(key)) = members.next_key()? {
            if few.contains(&key) || many.contains(&key) {
                self.report(&key);
                return Err(A::Error::custom("a key is given twice"));
            }
            self.path.push(Step::Key(key.clone().into_owned()));
            members.next_value_seed(self.inner())?;
            self.path.pop();
            if few.len() < FEW {
                few.push(key);
            } else {
                many.insert(key);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.path.push(Step::Item(0));
        while items.next_element_seed(self.inner())?.is_some() {
            if let Some(Step::Item(at)) = self.path.last_mut() {
                *at += 1;
            }
        }
        self.path.pop();
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_given_twice_are_named_with_their_place() {
        let found = |text: &str| repeated_key(text).unwrap_or_default();
        assert_eq!(found(r#"{"a":1,"a":2}"#), "the object has the key `a` twice");
        assert_eq!(found(r#"{"rows":[{"a":1},{"a":1,"\u0061":2}]}"#), "`rows[1]` has the key `a` twice");
        assert_eq!(found(r#"{"x":{"y":[0,[{"z":1,"z":1}]]}}"#), "`x.y[1][0]` has the key `z` twice");
        let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
        assert_eq!(found(&format!("{{{}}}", many.join(","))), "");
        for n in [0, 15, 16, 17, 99] {
            let text = format!("{{{},\"k{n}\":0}}", many.join(","));
            assert_eq!(found(&text), format!("the object has the key `k{n}` twice"));
        }
        for sound in [r#"{"a":{"a":1},"b":{"a":1}}"#, r#"[{"a":1},{"a":1}]"#, "1", "{", r#"{"a":NaN,"a":1}"#]
        {
            assert_eq!(found(sound), "", "{sound}");
        }
    }
}
