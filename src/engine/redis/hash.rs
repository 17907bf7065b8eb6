//! Which shard and which slot a name belongs to (engines.md 3.3). Shared with Centrifugo: a different answer splits a fleet.

const OFFSET_BASIS: u64 = 14_695_981_039_346_656_037;
const PRIME: u64 = 1_099_511_628_211;
/// Slots of a Redis Cluster.
const SLOTS: u16 = 16_384;

/// FNV-1a with 64 bits.
pub(super) fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(OFFSET_BASIS, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

/// One of `buckets` by jump consistent hashing.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the algorithm is defined with IEEE doubles; all values are below 2^53"
)]
pub(super) fn jump(text: &str, buckets: usize) -> usize {
    let mut key = fnv1a(text);
    let (mut bucket, mut next) = (0_u64, 0_u64);
    while next < buckets as u64 {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let scale = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * scale) as u64;
    }
    bucket as usize
}

/// Slot of a key in a Redis Cluster: of the text between the first braces, when there is any.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty());
    crc16(tag.unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC16, XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// engines.md appendix C.
    #[test]
    fn names_have_the_hashes_of_the_table() {
        let rows: [(&str, u64, [usize; 8], [u64; 3]); 8] = [
            (
                "",
                0xcbf2_9ce4_8422_2325,
                [1, 1, 1, 1, 1, 13, 17, 90],
                [1, 5, 37],
            ),
            (
                "a",
                0xaf63_dc4c_8601_ec8c,
                [1, 2, 2, 2, 2, 12, 31, 31],
                [0, 12, 12],
            ),
            (
                "test",
                0xf9e6_e6ef_197c_2b25,
                [1, 1, 1, 1, 1, 10, 17, 116],
                [1, 5, 37],
            ),
            (
                "chat:index",
                0x4e64_8ca6_baf3_d6b9,
                [0, 0, 0, 0, 0, 0, 58, 78],
                [1, 9, 57],
            ),
            (
                "news",
                0xe549_5bba_a03a_6526,
                [1, 2, 3, 3, 3, 3, 61, 81],
                [2, 6, 38],
            ),
            (
                "personal:42",
                0x7da6_88b0_6204_62d3,
                [1, 2, 2, 2, 2, 2, 36, 90],
                [3, 3, 19],
            ),
            (
                "$private:1",
                0xeeb0_6237_8c1c_f867,
                [0, 0, 0, 4, 4, 4, 23, 117],
                [3, 7, 39],
            ),
            (
                "канал",
                0x5ba0_5fa0_749d_2d79,
                [1, 2, 2, 2, 6, 8, 36, 36],
                [1, 9, 57],
            ),
        ];
        for (name, hash, jumps, mods) in rows {
            assert_eq!(fnv1a(name), hash, "{name}");
            assert_eq!(
                [2, 3, 4, 5, 8, 16, 64, 128].map(|n| jump(name, n)),
                jumps,
                "{name}"
            );
            assert_eq!([4, 16, 64].map(|n| hash % n), mods, "{name}");
            assert_eq!(jump(name, 1), 0, "{name}");
        }
    }

    #[test]
    fn every_recorded_channel_is_on_the_shard_where_centrifugo_put_it() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/golden/redis/sharding.json"
        );
        let text = std::fs::read(file).unwrap();
        let recorded: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let mut seen = 0;
        for run in recorded["runs"].as_object().unwrap().values() {
            let shards = usize::try_from(run["shards"].as_u64().unwrap()).unwrap();
            for channel in run["channels"].as_array().unwrap() {
                let name = channel["channel"].as_str().unwrap();
                let expected = serde_json::json!([jump(name, shards)]);
                assert_eq!(channel["observed"], expected, "{name}");
                seen += 1;
            }
        }
        assert!(seen >= 170, "{seen}");
    }

    #[test]
    fn slots_are_those_of_a_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("p.stream.{foo}"), 12_182);
        assert_eq!(slot("p.stream.meta.{foo}"), slot("{foo}"));
        // Of two pairs the first counts; an empty one does not.
        assert_eq!(slot("a{foo}{bar}"), 12_182);
        assert_ne!(slot("{}foo"), slot("foo"));
    }
}
