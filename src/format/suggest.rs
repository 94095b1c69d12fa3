//! "Did you mean": the nearest of the known names, by optimal string alignment (insert, remove, replace, swap neighbours).

use strsim::osa_distance;

/// The known name nearest to `name`, where one is near enough to be a slip of the keyboard.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 64 {
        return None;
    }
    let allowed = match name.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        _ => 2,
    };
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (osa_distance(&name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["temp", "wind_speed", "origin"];
        assert_eq!(did_you_mean("windspeed", known), Some("wind_speed"));
        assert_eq!(did_you_mean("Temp", known), Some("temp"));
        assert_eq!(did_you_mean("orgin", known), Some("origin"));
        assert_eq!(did_you_mean("humidity", known), None);
        assert_eq!(did_you_mean("m", ["n"]), None);
        assert_eq!(did_you_mean("tmep", known), Some("temp"));
    }
}
