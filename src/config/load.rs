//! Lays file, environment and flags over the reference, key by key.

use std::path::Path;

use toml::{Table, Value, de::DeTable};

use super::{Complaint, Config, ConfigError, Origin, REFERENCE, checks};

/// Environment variables that are settings begin so; single underscores belong to names.
const PREFIX: &str = "LARDER__";

/// One key's value from one place.
struct Setting {
    key: String,
    value: Value,
    origin: Origin,
}

impl Default for Config {
    /// The reference configuration.
    fn default() -> Config {
        reference().try_into().expect("config/larder.toml is compiled in and has every key")
    }
}

impl Config {
    /// Reference < `file` < `env` < `overrides`. Of `env` only `LARDER__SECTION__KEY` counts. `overrides` are dotted keys
    /// (`server.listen`) with values as text.
    ///
    /// # Errors
    /// Everything that is wrong in any layer, each complaint with its file and line, variable or flag.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        overrides: &[(String, String)],
    ) -> Result<Config, ConfigError> {
        let mut settings = match file {
            Some(path) => {
                let text =
                    fs_err::read_to_string(path).map_err(|e| ConfigError::one(None, "", e.to_string()))?;
                from_file(path, &text)?
            }
            None => Vec::new(),
        };
        let mut variables: Vec<_> = env.filter(|(name, _)| name.starts_with(PREFIX)).collect();
        variables.sort();
        settings.extend(variables.into_iter().map(|(variable, text)| {
            let key = variable[PREFIX.len()..].to_lowercase().replace("__", ".");
            from_text(key, text, Origin::Environment { variable })
        }));
        settings
            .extend(overrides.iter().map(|(key, text)| from_text(key.clone(), text.clone(), Origin::Flag)));
        lay(settings)
    }
}

fn reference() -> Table {
    REFERENCE.parse().expect("config/larder.toml is compiled in and parses")
}

/// A key's default, by its dotted name.
fn default_of<'a>(reference: &'a Table, key: &str) -> Option<&'a Value> {
    let (section, name) = key.split_once('.')?;
    reference.get(section)?.as_table()?.get(name)
}

fn set(table: &mut Table, key: &str, value: Value) {
    if let Some((section, name)) = key.split_once('.')
        && let Some(section) = table.get_mut(section).and_then(Value::as_table_mut)
    {
        section.insert(name.to_owned(), value);
    }
}

fn from_file(path: &Path, text: &str) -> Result<Vec<Setting>, ConfigError> {
    let origin = |at: usize| Origin::File { path: path.to_owned(), line: line_of(text, at) };
    let syntax = |e: toml::de::Error| {
        ConfigError::one(Some(origin(e.span().map_or(0, |s| s.start))), "", e.message().to_owned())
    };
    // Parsed twice: once for where each key stands, once for plain values.
    let places = DeTable::parse(text).map_err(syntax)?;
    let values: Table = text.parse().map_err(syntax)?;
    let mut settings = Vec::new();
    for (section, place) in places.get_ref() {
        let name: &str = section.get_ref();
        let value = values.get(name);
        match (place.get_ref().as_table(), value.and_then(Value::as_table)) {
            (Some(keys), Some(values)) if !keys.is_empty() => {
                for key in keys.keys() {
                    let Some(value) = values.get(key.get_ref().as_ref()) else { continue };
                    let dotted = format!("{name}.{}", key.get_ref());
                    settings.push(Setting {
                        key: dotted,
                        value: value.clone(),
                        origin: origin(key.span().start),
                    });
                }
            }
            _ => settings.extend(value.map(|value| Setting {
                key: name.to_owned(),
                value: value.clone(),
                origin: origin(section.span().start),
            })),
        }
    }
    settings.sort_by_key(|s| match s.origin {
        Origin::File { line, .. } => line,
        _ => 0,
    });
    Ok(settings)
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

/// Text becomes what the key's default is: a string stays as it is, anything else is read as TOML.
fn from_text(key: String, text: String, origin: Origin) -> Setting {
    let value = match default_of(&reference(), &key) {
        Some(Value::String(_)) | None => Value::String(text),
        Some(_) => toml::from_str::<Table>(&format!("value = {text}"))
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or(Value::String(text)),
    };
    Setting { key, value, origin }
}

fn lay(settings: Vec<Setting>) -> Result<Config, ConfigError> {
    let reference = reference();
    let mut merged = reference.clone();
    let mut complaints = Vec::new();
    let mut origins = std::collections::BTreeMap::new();
    for Setting { key, value, origin } in settings {
        if value.as_table().is_some_and(Table::is_empty) && reference.contains_key(&key) {
            continue;
        }
        let Some(default) = default_of(&reference, &key) else {
            complaints.push(Complaint { reason: unknown(&reference, &key), key, origin: Some(origin) });
            continue;
        };
        // Alone on the defaults first, so that an error is this setting's and no other's.
        let mut alone = reference.clone();
        set(&mut alone, &key, value.clone());
        match Config::deserialize_table(alone) {
            Ok(_) => {
                set(&mut merged, &key, value);
                origins.insert(key, origin);
            }
            Err(error) => {
                let reason = format!("{}; the default is {default}", error.message().trim_end());
                complaints.push(Complaint { origin: Some(origin), key, reason });
            }
        }
    }
    let mut config =
        Config::deserialize_table(merged).map_err(|e| ConfigError::one(None, "", e.message().to_owned()))?;
    config.origins = origins;
    for (key, reason) in checks::complaints(&config) {
        let origin = config.origins.get(key).cloned();
        complaints.push(Complaint { origin, key: key.to_owned(), reason });
    }
    if complaints.is_empty() { Ok(config) } else { Err(ConfigError { complaints }) }
}

impl Config {
    fn deserialize_table(table: Table) -> Result<Config, toml::de::Error> {
        table.try_into()
    }
}

fn unknown(reference: &Table, key: &str) -> String {
    if let Some(Value::Table(keys)) = reference.get(key) {
        let names: Vec<_> = keys.keys().map(String::as_str).collect();
        return format!("is a section; it has the keys {}", names.join(", "));
    }
    let known = reference.iter().filter_map(|(section, keys)| Some((section, keys.as_table()?)));
    let known = known.flat_map(|(section, keys)| keys.keys().map(move |name| format!("{section}.{name}")));
    // The right name in the wrong section is nearer than any misspelling.
    let last = key.rsplit('.').next().unwrap_or(key);
    let distance = |candidate: &String| match candidate.rsplit('.').next() {
        Some(name) if name == last => 0,
        _ => edits(candidate, key),
    };
    match known.min_by_key(distance) {
        Some(nearest) if distance(&nearest) <= nearest.len() / 2 => {
            format!("there is no such key; did you mean `{nearest}`?")
        }
        _ => "there is no such key; `larder dump-config` lists them all".to_owned(),
    }
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DurabilityMode, Size};

    fn load(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("larder.toml");
        fs_err::write(&path, file).unwrap();
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        Config::load(Some(&path), owned(env).into_iter(), &owned(flags))
            .map_err(|e| e.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn the_reference_is_the_default_and_has_nothing_to_complain_about() {
        let loaded = Config::load(None, std::iter::empty(), &[]).unwrap();
        assert_eq!(loaded, Config::default());
        assert_eq!(loaded.server.listen.to_string(), "127.0.0.1:6566");
        assert_eq!(loaded.limits.body_bytes, Size::from_bytes(16 << 20));
        assert_eq!(loaded.durability.mode, DurabilityMode::Fsync);
    }

    #[test]
    fn later_layers_win() {
        let file = "[server]\nmax_connections = 1\nworkers = 1\nheader_timeout = \"1s\"\n";
        let env = [
            ("LARDER__SERVER__WORKERS", "2"),
            ("LARDER__SERVER__HEADER_TIMEOUT", "2s"),
            ("LARDER_SERVER", "x"),
        ];
        let config = load(file, &env, &[("server.header_timeout", "3s")]).unwrap();
        assert_eq!(config.server.max_connections, 1);
        assert_eq!(config.server.workers, 2);
        assert_eq!(config.server.header_timeout.to_string(), "3s");
        assert_eq!(config.origins["server.header_timeout"], Origin::Flag);
        assert_eq!(config.origins["server.workers"].to_string(), "LARDER__SERVER__WORKERS");
    }

    #[track_caller]
    fn refused(file: &str, env: &[(&str, &str)], complaint: &str) {
        let error = load(file, env, &[]).unwrap_err();
        assert!(error.contains(complaint), "got:  {error}\nwant: {complaint}");
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_known_one() {
        refused(
            "[server]\n\nlisen = \"x\"",
            &[],
            "larder.toml:3: server.lisen: there is no such key; did you mean `server.listen`?",
        );
        refused(
            "[sever]\nlisten = \"127.0.0.1:1\"",
            &[],
            "larder.toml:2: sever.listen: there is no such key; did you mean `server.listen`?",
        );
        refused("[server]\nseal_rows = 5", &[], "did you mean `offline.seal_rows`?");
        refused(
            "zzz = 1",
            &[],
            "larder.toml:1: zzz: there is no such key; `larder dump-config` lists them all",
        );
        refused("[server.tls]\ncert = 1", &[], "larder.toml:1: server.tls: there is no such key");
        refused("log = \"info\"", &[], "larder.toml:1: log: is a section; it has the keys format, level");
        refused(
            "",
            &[("LARDER__ONLINE__SHARD", "4")],
            "LARDER__ONLINE__SHARD: online.shard: there is no such key; did you mean `online.shards`?",
        );
    }

    #[test]
    fn wrong_values_are_refused_with_what_would_be_right() {
        refused(
            "[limits]\nbody_bytes = \"16MB\"",
            &[],
            "larder.toml:2: limits.body_bytes: `16MB` is not a size; write a whole number and a unit",
        );
        refused(
            "[limits]\nbody_bytes = 16",
            &[],
            "limits.body_bytes: invalid type: integer `16`, expected a string; the default is \"16MiB\"",
        );
        refused("[server]\nread_timeout = \"5\"", &[], "server.read_timeout: `5` is not a duration");
        refused(
            "[online]\nshards = \"two\"",
            &[],
            "online.shards: invalid type: string \"two\", expected u16; the default is 2",
        );
        refused("[online]\nshards = -1", &[], "online.shards: invalid value: integer `-1`, expected u16");
        refused(
            "[durability]\nmode = \"never\"",
            &[],
            "unknown variant `never`, expected one of `fsync`, `interval`, `buffer`",
        );
        refused(
            "[server]\nlisten = \"localhost\"",
            &[],
            "server.listen: invalid socket address syntax; the default is \"127.0.0.1:6566\"",
        );
        refused(
            "",
            &[("LARDER__TRACING__ENABLED", "yes")],
            "LARDER__TRACING__ENABLED: tracing.enabled: invalid type: string \"yes\", expected a boolean",
        );
        refused("[server\n", &[], "larder.toml:1: ");
    }

    #[test]
    fn all_complaints_come_at_once() {
        let error = load("[server]\nlisen = 1\nworkers = \"x\"", &[], &[("online.shards", "0")]).unwrap_err();
        assert_eq!(error.lines().count(), 3, "{error}");
        assert!(error.contains("command line: online.shards: "), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error =
            Config::load(Some(Path::new("/nowhere/larder.toml")), std::iter::empty(), &[]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/larder.toml"), "{error}");
    }

    #[test]
    fn an_empty_section_and_a_whole_number_for_a_fraction_are_fine() {
        let config = load("[server]\n[tracing]\nsample_ratio = 1", &[], &[]).unwrap();
        assert_eq!(config.tracing.sample_ratio, 1.0);
    }
}
