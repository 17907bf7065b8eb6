//! Where a publication comes from, as far as traces are concerned.

/// The span that published, of a trace that is recorded; what is not recorded has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Identifier of the trace.
    pub trace: [u8; 16],
    /// Identifier of the span.
    pub span: [u8; 8],
}

impl TraceContext {
    /// Bytes of the form in which nodes tell each other.
    const LENGTH: usize = 24;

    /// Trace and span, one after the other.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..16].copy_from_slice(&self.trace);
        bytes[16..].copy_from_slice(&self.span);
        bytes
    }

    /// The same back; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace, span) = bytes.split_first_chunk::<16>()?;
        let span: [u8; 8] = span.try_into().ok()?;
        let nobody = *trace == [0; 16] || span == [0; 8];
        (!nobody).then_some(Self {
            trace: *trace,
            span,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_back_and_others_are_nothing() {
        let context = TraceContext {
            trace: [7; 16],
            span: [9; 8],
        };
        assert_eq!(TraceContext::from_bytes(&context.to_bytes()), Some(context));
        for wrong in [&[][..], &[7; 23], &[7; 25], &[0; 24]] {
            assert_eq!(TraceContext::from_bytes(wrong), None, "{wrong:?}");
        }
    }
}
