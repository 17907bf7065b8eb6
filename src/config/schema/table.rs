//! The building blocks of the tables: a field, its kind, and the macro that keeps one option on one line.

/// Fields in the order they are shown.
pub type Table = &'static [Field];
/// A section composed of one or several tables.
pub type Tables = &'static [Table];

/// How widely an option is used (config.md, column Tier).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Needed in a typical deployment.
    A,
    /// Common.
    B,
    /// Rare or niche.
    C,
}

/// Value range of a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 64 bits, below zero counts as zero.
    Count,
    /// 64 bits, where a negative number has a meaning.
    Signed,
    /// 64 bits, a moment in Unix seconds.
    Int64,
    /// 32 bits.
    Int32,
    /// 32 bits without sign.
    Uint32,
    /// A TCP port.
    Port,
}

/// What a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Ordinary text.
    Plain,
    /// Never shown in documents, warnings or change lists.
    Secret,
    /// PEM, base64 of PEM, or the path of a file with PEM.
    Pem,
}

/// Type and default of an option.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64, Width),
    /// Nanoseconds; with `true` a negative value means "off".
    Duration(i64, bool),
    /// Text.
    Text(&'static str, Form),
    /// Several texts.
    Texts(&'static [&'static str]),
    /// Texts by name.
    Map,
    /// Options of its own.
    Section(Tables),
    /// A list of objects without names.
    Objects(Tables),
    /// A list of objects with a `name`.
    Named(Tables),
}

impl Kind {
    /// Word for the type, as the reference page shows it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Int(_, Width::Count | Width::Signed | Width::Port) => "int",
            Self::Int(_, Width::Int64) => "int64",
            Self::Int(_, Width::Int32) => "int32",
            Self::Int(_, Width::Uint32) => "uint32",
            Self::Duration(..) => "duration",
            Self::Text(_, Form::Pem) => "PEM",
            Self::Text(..) => "string",
            Self::Texts(_) => "string list",
            Self::Map => "string map",
            Self::Section(_) => "section",
            Self::Objects(_) => "list of objects",
            Self::Named(_) => "named list",
        }
    }
}

/// Whether the feature behind an option exists in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It does.
    Open,
    /// It does not: any value but the default stops the start; on a section, its `enabled`.
    Missing,
    /// Only these values exist yet.
    Only(&'static [&'static str]),
}

/// Whether the server has a command-line flag for an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// None.
    Absent,
    /// `--key`.
    Long,
    /// `--key` and a letter.
    Short(char),
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Last part of the key.
    pub key: &'static str,
    /// How widely it is used.
    pub tier: Tier,
    /// Type and default.
    pub kind: Kind,
    /// One line for people.
    pub help: &'static str,
    /// Does the feature exist?
    pub gate: Gate,
    /// Is there a flag?
    pub flag: Flag,
    /// Not part of the compatible tree: own prefix only, explicit zeros count.
    pub own: bool,
    /// Known, but left out of listings of files.
    pub hidden: bool,
}

impl Field {
    /// An available option of the compatible tree without a flag.
    pub(super) const fn new(key: &'static str, tier: Tier, kind: Kind, help: &'static str) -> Self {
        Self {
            key,
            tier,
            kind,
            help,
            gate: Gate::Open,
            flag: Flag::Absent,
            own: false,
            hidden: false,
        }
    }

    pub(super) const fn missing(mut self) -> Self {
        self.gate = Gate::Missing;
        self
    }

    pub(super) const fn only(mut self, values: &'static [&'static str]) -> Self {
        self.gate = Gate::Only(values);
        self
    }

    pub(super) const fn flag(mut self) -> Self {
        self.flag = Flag::Long;
        self
    }

    pub(super) const fn short(mut self, letter: char) -> Self {
        self.flag = Flag::Short(letter);
        self
    }

    pub(super) const fn own(mut self) -> Self {
        self.own = true;
        self
    }

    pub(super) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

pub(super) const fn bool(default: bool) -> Kind {
    Kind::Bool(default)
}

pub(super) const fn int(default: i64) -> Kind {
    Kind::Int(default, Width::Count)
}

pub(super) const fn signed(default: i64) -> Kind {
    Kind::Int(default, Width::Signed)
}

pub(super) const fn int32(default: i64) -> Kind {
    Kind::Int(default, Width::Int32)
}

pub(super) const fn uint32(default: i64) -> Kind {
    Kind::Int(default, Width::Uint32)
}

pub(super) const fn unix(default: i64) -> Kind {
    Kind::Int(default, Width::Int64)
}

pub(super) const fn port(default: i64) -> Kind {
    Kind::Int(default, Width::Port)
}

pub(super) const fn secs(seconds: i64) -> Kind {
    Kind::Duration(seconds * 1_000_000_000, false)
}

pub(super) const fn millis(millis: i64) -> Kind {
    Kind::Duration(millis * 1_000_000, false)
}

/// A duration that a negative value switches off.
pub(super) const fn off(seconds: i64) -> Kind {
    Kind::Duration(seconds * 1_000_000_000, true)
}

pub(super) const fn text(default: &'static str) -> Kind {
    Kind::Text(default, Form::Plain)
}

pub(super) const fn secret() -> Kind {
    Kind::Text("", Form::Secret)
}

pub(super) const fn pem() -> Kind {
    Kind::Text("", Form::Pem)
}

pub(super) const fn texts(default: &'static [&'static str]) -> Kind {
    Kind::Texts(default)
}

pub(super) const fn map() -> Kind {
    Kind::Map
}

pub(super) const fn section(tables: Tables) -> Kind {
    Kind::Section(tables)
}

pub(super) const fn objects(tables: Tables) -> Kind {
    Kind::Objects(tables)
}

pub(super) const fn named(tables: Tables) -> Kind {
    Kind::Named(tables)
}

/// Writes a table with one option on a line: tier, key, kind, help, and in brackets what is special about it.
macro_rules! table {
    (
        $(#[$meta:meta])*
        $name:ident:
        $($tier:ident $key:ident $kind:ident ( $($arg:expr),* ) $help:literal
            $( [ $($mark:ident $( ( $value:expr ) )? ),* ] )? ; )*
    ) => {
        $(#[$meta])*
        pub(super) const $name: $crate::config::schema::Table = &[
            $(
                $crate::config::schema::Field::new(
                    stringify!($key),
                    $crate::config::schema::Tier::$tier,
                    $kind($($arg),*),
                    $help,
                )
                $( $( .$mark($($value)?) )* )?
            ),*
        ];
    };
}
