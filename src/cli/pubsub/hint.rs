//! What to do about a number.

use crate::client::Error;

/// The hint on a line of its own, or nothing.
pub(super) fn line(hint: &str) -> String {
    match hint {
        "" => String::new(),
        hint => format!("\nhint: {hint}"),
    }
}

/// Where in the input it happened.
pub(super) fn place(line: &Option<u64>) -> String {
    line.map(|line| format!("line {line}: "))
        .unwrap_or_default()
}

/// A refused or ended connection.
pub(super) fn connection(code: u32) -> &'static str {
    match code {
        109 | 3005 => "the token has expired; make another one with `centripetal gentoken`",
        3500 => "is the token signed with the gateway's key? `centripetal checktoken` tells",
        3501 => {
            "the gateway wants to know who you are: use --token, or allow_anonymous_connect_without_token of its client section"
        }
        3503 => "somebody disconnected this client through the server API",
        3504 => "the user has too many connections: see client.user_connection_limit",
        3507 => "the gateway takes no tokens without a user",
        _ => "",
    }
}

/// A refused or ended subscription.
pub(super) fn subscription(code: u32) -> &'static str {
    match code {
        102 => "the part before ':' must be a namespace of the gateway's configuration",
        103 => {
            "needs permission: use --token of a user who may subscribe, or allow_subscribe_for_client of the channel's namespace"
        }
        105 => "the gateway subscribes this user to the channel by itself",
        106 => "too many channels: see client.channel_limit",
        107 => "is the channel's name one that the gateway takes?",
        2000 => "somebody ended the subscription through the server API",
        _ => "",
    }
}

/// A refused message.
pub(super) fn publish(error: &Error) -> &'static str {
    let Error::Server(error) = error else {
        return match error {
            Error::Timeout | Error::ConnectionLost => {
                "it is unknown whether the gateway took the message"
            }
            _ => "",
        };
    };
    match error.code {
        102 => "the part before ':' must be a namespace of the gateway's configuration",
        103 => {
            "needs permission: use --token of a user who may publish, or allow_publish_for_client of the channel's namespace"
        }
        107 => "is the channel's name, and the data, what the gateway takes for this channel?",
        108 => "publishing into this channel is off",
        111 => "too fast: try again later",
        _ => "",
    }
}
