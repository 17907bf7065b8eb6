//! Flags of the server: those options of the schema that have one.

use clap::{Arg, ArgMatches, builder::ValueParser};

use crate::config::{
    Flags, accepts,
    schema::{self, Field, Flag, Kind},
};

/// One argument for every option with a flag.
pub(super) fn arguments() -> Vec<Arg> {
    let mut arguments = Vec::new();
    schema::walk(schema::ROOT, "", &mut |path, field| {
        if field.flag != Flag::Absent {
            arguments.push(argument(path, field));
        }
    });
    arguments
}

/// Flags that were given, by key.
pub(super) fn given(matches: &ArgMatches) -> Flags {
    arguments()
        .iter()
        .filter_map(|argument| {
            let key = argument.get_id().as_str();
            let value = matches.get_one::<String>(key)?;
            Some((key.to_owned(), value.clone()))
        })
        .collect()
}

fn argument(path: &str, field: &'static Field) -> Arg {
    let check = move |text: &str| accepts(field, text).map(|()| text.to_owned());
    let default = match field.kind {
        Kind::Int(number, _) => format!(" [default: {number}]"),
        Kind::Text(text, _) if !text.is_empty() => format!(" [default: {text}]"),
        _ => String::new(),
    };
    let argument = Arg::new(path.to_owned())
        .long(path.to_owned())
        .help(format!("{}{default}", field.help))
        .value_parser(ValueParser::from(check));
    let argument = match field.kind {
        // A switch needs no value, but may have one: `--health.enabled=false`.
        Kind::Bool(_) => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL"),
        Kind::Int(..) => argument.value_name("NUMBER"),
        _ => argument.value_name("TEXT"),
    };
    match field.flag {
        Flag::Short(letter) => argument.short(letter),
        Flag::Absent | Flag::Long => argument,
    }
}
