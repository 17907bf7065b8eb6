//! How alike two names are, for the hint that an unknown one gets.

/// The likeness of two names, 0 to 1, where it is at least `least`. What lengths alone rule out is not compared: there are a
/// thousand names for each unknown one.
pub(super) fn likeness(name: &str, candidate: &str, least: f64) -> Option<f64> {
    let (shorter, longer) = match (name.len(), candidate.len()) {
        (a, b) if a < b => (a, b),
        (a, b) => (b, a),
    };
    // Each byte that is too many is one edit. Names are ASCII; where one is not, this rules out less than it could.
    let part = |bytes: usize| f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
    if longer > 0 && name.is_ascii() && 1.0 - part(longer - shorter) / part(longer) < least {
        return None;
    }
    Some(strsim::normalized_damerau_levenshtein(name, candidate)).filter(|found| *found >= least)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_alike_is_ruled_out(name in "[a-z_.é]{0,12}", candidate in "[a-z_.]{0,12}", least in 0.0..1.0_f64) {
            let all = strsim::normalized_damerau_levenshtein(&name, &candidate);
            prop_assert_eq!(likeness(&name, &candidate, least), Some(all).filter(|all| *all >= least));
        }
    }
}
