//! Prints what is in effect: the reference text with the changed values put in.

use toml::{Table, Value};

use super::{Config, REFERENCE};

impl Config {
    /// The whole configuration as TOML that [`Config::load`] reads back to the same values, comments included. Behind
    /// each value that is not the default stands where it was set and what the default is.
    pub fn dump(&self) -> String {
        let effective = Table::try_from(self).unwrap_or_default();
        let mut section = "";
        let mut out = String::with_capacity(REFERENCE.len());
        for line in REFERENCE.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
            }
            match changed(&effective, section, line) {
                Some((key, value, default)) => {
                    let dotted = format!("{section}.{key}");
                    let origin =
                        self.origins.get(&dotted).map_or("the program".to_owned(), ToString::to_string);
                    out.push_str(&format!("{key} = {value} # set by {origin}; the default is {default}"));
                }
                None => out.push_str(line),
            }
            out.push('\n');
        }
        out
    }
}

/// Key, effective value and default of a reference line whose value is not in effect.
fn changed<'a>(effective: &'a Table, section: &str, line: &'a str) -> Option<(&'a str, &'a Value, &'a str)> {
    let (key, default) = line.split_once(" = ").filter(|_| !line.starts_with('#'))?;
    let value = effective.get(section)?.as_table()?.get(key)?;
    let parsed: Table = toml::from_str(line).ok()?;
    // A size or duration may be written in several ways; what counts is what it says once read and printed.
    (parsed.get(key) != Some(value) && !same(parsed.get(key)?, value)).then_some((key, value, default))
}

fn same(a: &Value, b: &Value) -> bool {
    let duration = |v: &Value| v.as_str().and_then(|s| s.parse::<crate::model::Duration>().ok());
    let size = |v: &Value| v.as_str().and_then(|s| s.parse::<super::Size>().ok());
    (duration(a).is_some() && duration(a) == duration(b)) || (size(a).is_some() && size(a) == size(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_dumped_as_the_reference() {
        assert_eq!(Config::default().dump(), REFERENCE);
    }

    #[test]
    fn a_dump_loads_back_and_says_where_values_came_from() {
        let env = [("LARDER__SERVER__LISTEN".to_owned(), "0.0.0.0:80".to_owned())];
        let flags = [
            ("limits.body_bytes".to_owned(), "1MiB".to_owned()),
            ("tracing.sample_ratio".to_owned(), "0.5".to_owned()),
            ("data.dir".to_owned(), "/var/lib/a \"b\"".to_owned()),
        ];
        let config = Config::load(None, env.into_iter(), &flags).unwrap();
        let text = config.dump();
        assert!(
            text.contains(
                "listen = \"0.0.0.0:80\" # set by LARDER__SERVER__LISTEN; the default is \"127.0.0.1:6566\""
            ),
            "{text}"
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dump.toml");
        fs_err::write(&path, text).unwrap();
        let mut back = Config::load(Some(&path), std::iter::empty(), &[]).unwrap();
        back.origins = config.origins.clone();
        assert_eq!(back, config);
    }
}
