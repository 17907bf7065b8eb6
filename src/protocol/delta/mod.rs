//! Fossil deltas: from one payload to the next, and back (client-protocol.md 5.9).
//!
//! Pure functions over bytes. What is written is what deployed servers write; what is read may be anything, and is bounded by
//! the length its header tells.

/// Bytes that are looked for at a time.
const BLOCK: usize = 16;
/// Places of one hash that are compared.
const CANDIDATES: usize = 249;
/// Longer payloads are sent complete: the work for one grows with its length times the places that are tried for each match.
pub const MAX_LENGTH: usize = 1 << 20;

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/// No block.
const NONE: u32 = u32::MAX;

/// The delta from `base` to `target`, if it is shorter than the target.
#[must_use]
pub fn shorter(base: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if base.len() > MAX_LENGTH || target.len() > MAX_LENGTH {
        return None;
    }
    let delta = encode(base, target);
    (delta.len() < target.len()).then_some(delta)
}

/// The delta from `base` to `target`, however long.
#[must_use]
pub fn encode(base: &[u8], target: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64.max(target.len() / 8));
    integer(&mut out, target.len());
    out.push(b'\n');
    if base.len() <= BLOCK {
        insert(&mut out, target);
    } else {
        copies(base, target, &mut out);
    }
    digits(&mut out, checksum(target).into());
    out.push(b';');
    out
}

fn copies(base: &[u8], target: &[u8], out: &mut Vec<u8>) {
    let index = Index::of(base);
    let mut at = 0;
    while at + BLOCK < target.len() {
        let Some(found) = index.search(&target[at..]) else {
            break;
        };
        if found.literals > 0 {
            insert(out, &target[at..at + found.literals]);
        }
        integer(out, found.count);
        out.push(b'@');
        integer(out, found.from);
        out.push(b',');
        at += found.literals + found.count;
    }
    if at < target.len() {
        insert(out, &target[at..]);
    }
}

/// What the base has in common with the target.
#[derive(Clone, Copy)]
struct Match {
    /// Bytes before it that are new.
    literals: usize,
    /// Bytes in common.
    count: usize,
    /// Where they begin in the base.
    from: usize,
}

/// Blocks of the base by hash.
struct Index<'a> {
    base: &'a [u8],
    /// Last block with a hash, and behind that, for every block, the one before it with the same hash.
    blocks: Vec<u32>,
    count: usize,
}

impl<'a> Index<'a> {
    fn of(base: &'a [u8]) -> Self {
        let count = base.len() / BLOCK;
        let mut blocks = vec![NONE; count * 2];
        let places = (0..base.len() - BLOCK).step_by(BLOCK);
        for (block, place) in (0_u32..).zip(places) {
            let slot = Window::over(&base[place..]).slot(count);
            blocks[count + block as usize] = blocks[slot];
            blocks[slot] = block;
        }
        Self {
            base,
            blocks,
            count,
        }
    }

    /// The best match at the first place of the target that has one. The target is longer than a block.
    fn search(&self, target: &[u8]) -> Option<Match> {
        let mut window = Window::over(target);
        for shift in 0.. {
            if let Some(found) = self.best(target, shift, window) {
                return Some(found);
            }
            let next = *target.get(shift + BLOCK)?;
            window.roll(target[shift], next);
        }
        None
    }

    fn best(&self, target: &[u8], shift: usize, window: Window) -> Option<Match> {
        let mut best: Option<Match> = None;
        let mut block = self.blocks[window.slot(self.count)];
        for _ in 0..CANDIDATES {
            if block == NONE {
                break;
            }
            let start = block as usize * BLOCK;
            let forward = common(&self.base[start..], &target[shift..]);
            let backward = self.backward(start, &target[..shift]);
            let found = Match {
                literals: shift - backward,
                count: forward + backward,
                from: start - backward,
            };
            let longer = best.is_none_or(|best| found.count > best.count);
            if longer && found.count >= found.cost() {
                best = Some(found);
            }
            block = self.blocks[self.count + block as usize];
        }
        best
    }

    /// Bytes in common before a block and at the end of `before`; the first byte of the base is never among them.
    fn backward(&self, start: usize, before: &[u8]) -> usize {
        let most = start.saturating_sub(1).min(before.len());
        let pairs = self.base[..start].iter().rev().zip(before.iter().rev());
        pairs.take(most).take_while(|(a, b)| a == b).count()
    }
}

impl Match {
    /// Bytes it takes to write it, at least.
    fn cost(self) -> usize {
        width(self.literals) + width(self.count) + width(self.from) + 3
    }
}

/// Bytes at the begin that are equal.
fn common(a: &[u8], b: &[u8]) -> usize {
    const STEP: usize = 32;
    let steps = a.chunks_exact(STEP).zip(b.chunks_exact(STEP));
    let whole = steps.take_while(|(a, b)| a == b).count() * STEP;
    let rest = a[whole..].iter().zip(&b[whole..]);
    whole + rest.take_while(|(a, b)| a == b).count()
}

/// The rolling hash over one block.
#[derive(Clone, Copy)]
struct Window {
    a: u16,
    b: u16,
}

impl Window {
    /// Over the first bytes, of which there is at least a block.
    fn over(bytes: &[u8]) -> Self {
        let mut window = Self { a: 0, b: 0 };
        for byte in &bytes[..BLOCK] {
            window.a = window.a.wrapping_add(u16::from(*byte));
            window.b = window.b.wrapping_add(window.a);
        }
        window
    }

    fn roll(&mut self, out: u8, next: u8) {
        let out = u16::from(out);
        self.a = self.a.wrapping_sub(out).wrapping_add(u16::from(next));
        // The byte that leaves was counted once for each byte of the block.
        self.b = self.b.wrapping_sub(out << 4).wrapping_add(self.a);
    }

    fn slot(self, slots: usize) -> usize {
        (u32::from(self.a) | u32::from(self.b) << 16) as usize % slots
    }
}

fn insert(out: &mut Vec<u8>, bytes: &[u8]) {
    integer(out, bytes.len());
    out.push(b':');
    out.extend_from_slice(bytes);
}

fn integer(out: &mut Vec<u8>, value: usize) {
    digits(out, value as u64);
}

fn digits(out: &mut Vec<u8>, value: u64) {
    let most = (64 - value.leading_zeros()).div_ceil(6).max(1);
    for place in (0..most).rev() {
        let digit = (value >> (6 * place)) & 63;
        out.push(DIGITS[usize::from(digit as u8)]);
    }
}

/// Digits of a number.
fn width(value: usize) -> usize {
    (usize::BITS - value.leading_zeros()).div_ceil(6).max(1) as usize
}

/// Sum of the bytes as big-endian words of 32 bits.
fn checksum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().fold(u32::from_be_bytes(last), |sum, word| {
        sum.wrapping_add(u32::from_be_bytes(*word))
    })
}

/// Bytes that are no delta, or not one of this base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("delta does not fit the payload before")]
pub struct Unfit;

/// What `delta` makes of `base`; at most `limit` bytes.
///
/// # Errors
/// [`Unfit`] for everything that is not a delta of this very base.
pub fn decode(base: &[u8], delta: &[u8], limit: usize) -> Result<Vec<u8>, Unfit> {
    let mut rest = delta;
    let length = number(&mut rest)?;
    let length = usize::try_from(length).map_err(|_too_long| Unfit)?;
    if step(&mut rest)? != b'\n' || length > limit {
        return Err(Unfit);
    }
    // What is told is believed only as far as something stands behind it.
    let mut out = Vec::with_capacity(length.min(base.len() + delta.len()));
    loop {
        let value = number(&mut rest)?;
        let count = usize::try_from(value).map_err(|_too_long| Unfit)?;
        let part = match step(&mut rest)? {
            b'@' => {
                let from = number(&mut rest)?;
                let from = usize::try_from(from).map_err(|_too_long| Unfit)?;
                if step(&mut rest)? != b',' {
                    return Err(Unfit);
                }
                let end = from.checked_add(count).ok_or(Unfit)?;
                base.get(from..end).ok_or(Unfit)?
            }
            b':' => {
                let (part, behind) = rest.split_at_checked(count).ok_or(Unfit)?;
                rest = behind;
                part
            }
            b';' => {
                let fits = out.len() == length && u64::from(checksum(&out)) == value;
                return if fits { Ok(out) } else { Err(Unfit) };
            }
            _ => return Err(Unfit),
        };
        if part.len() > length - out.len() {
            return Err(Unfit);
        }
        out.extend_from_slice(part);
    }
}

fn step(rest: &mut &[u8]) -> Result<u8, Unfit> {
    let (first, behind) = rest.split_first().ok_or(Unfit)?;
    *rest = behind;
    Ok(*first)
}

/// A number: at least one digit.
fn number(rest: &mut &[u8]) -> Result<u64, Unfit> {
    let mut value = 0_u64;
    let mut any = false;
    while let Some(digit) = rest.first().copied().and_then(digit) {
        value = value.checked_mul(64).ok_or(Unfit)? | digit;
        *rest = &rest[1..];
        any = true;
    }
    if any { Ok(value) } else { Err(Unfit) }
}

const fn digit(byte: u8) -> Option<u64> {
    let value = match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'Z' => byte - b'A' + 10,
        b'_' => 36,
        b'a'..=b'z' => byte - b'a' + 37,
        b'~' => 63,
        _ => return None,
    };
    Some(value as u64)
}

#[cfg(test)]
mod tests;
