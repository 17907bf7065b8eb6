//! Every form of an address, and what is no address.

use super::*;

fn options(address: &str) -> Options {
    Options {
        address: vec![address.to_owned()],
        ..Options::default()
    }
}

fn one(options: &Options) -> Location {
    locations(options).unwrap().remove(0)
}

fn tcp(host: &str, port: u16) -> Endpoint {
    Endpoint::Tcp(host.to_owned(), port)
}

fn single(address: &str) -> (Endpoint, Greeting) {
    let location = one(&options(address));
    match location.topology {
        Topology::Single(endpoint) => (endpoint, location.greeting),
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn servers_are_written_in_many_ways() {
    for (address, expected) in [
        ("localhost:7000", tcp("localhost", 7000)),
        ("localhost", tcp("localhost", 6379)),
        ("[::1]:7000", tcp("::1", 7000)),
        ("redis://localhost", tcp("localhost", 6379)),
        ("tcp://10.0.0.1:7000", tcp("10.0.0.1", 7000)),
        ("redis://[::1]:7000", tcp("::1", 7000)),
        (
            "unix:///run/redis.sock",
            Endpoint::Unix("/run/redis.sock".into()),
        ),
    ] {
        let (endpoint, greeting) = single(address);
        assert_eq!(endpoint, expected, "{address}");
        assert!(greeting.tls.is_none(), "{address}");
    }
    assert!(single("rediss://localhost").1.tls.is_some());
}

#[test]
fn an_address_wins_over_its_section() {
    let section = Options {
        user: "section".to_owned(),
        password: "old".into(),
        db: 1,
        ..options(
            "redis://me:p%40ss+1@h:1/5?connect_timeout=2s&io_timeout=300ms&force_resp2=true&tls_enabled=true",
        )
    };
    let greeting = one(&section).greeting;
    assert_eq!(greeting.login.user, "me");
    assert_eq!(greeting.login.password.expose(), "p@ss+1");
    assert_eq!(greeting.db, 5);
    assert_eq!(greeting.connect_timeout, Duration::from_secs(2));
    assert_eq!(greeting.io_timeout, Duration::from_millis(300));
    assert!(greeting.resp2 && greeting.tls.is_some());
    let plain = one(&Options {
        address: vec!["h:1".to_owned()],
        ..section
    });
    assert_eq!(plain.greeting.login.user, "section");
    assert_eq!(plain.greeting.db, 1);
}

#[test]
fn sentinels_and_clusters_have_several_seeds() {
    let location = one(&options(
        "rediss+sentinel://u:p@s1?addr=s2:7&sentinel_master_name=m&sentinel_user=su&sentinel_password=sp",
    ));
    assert!(location.greeting.tls.is_some());
    assert_eq!(location.greeting.login.user, "u");
    match location.topology {
        Topology::Sentinel {
            sentinels,
            greeting,
            master,
        } => {
            assert_eq!(sentinels, [tcp("s1", 26_379), tcp("s2", 7)]);
            assert_eq!((master.as_str(), greeting.login.user.as_str()), ("m", "su"));
            assert!(greeting.tls.is_some());
        }
        other => panic!("unexpected {other:?}"),
    }
    match one(&options("redis+cluster://c1:1?addr=c2:2")).topology {
        Topology::Cluster(seeds) => assert_eq!(seeds, [tcp("c1", 1), tcp("c2", 2)]),
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn sections_have_their_order() {
    let mut section = Options {
        cluster_address: vec!["c1:1,c2:2".to_owned(), "d:3".to_owned()],
        sentinel_address: vec!["s1,s2:2".to_owned()],
        sentinel_master_name: "m".to_owned(),
        ..options("h:1")
    };
    let modes = |section: &Options| {
        let locations = locations(section).unwrap();
        locations.iter().map(Location::mode).collect::<Vec<_>>()
    };
    assert_eq!(modes(&section), ["cluster", "cluster"]);
    section.cluster_address.clear();
    assert_eq!(modes(&section), ["sentinel"]);
    section.sentinel_address.clear();
    section.address.push("h:2".to_owned());
    assert_eq!(modes(&section), ["standalone", "standalone"]);
}

#[test]
fn what_is_no_address_is_said_without_repeating_it() {
    for (address, why) in [
        ("http://secret:secret@h", "unknown scheme http"),
        ("h:x", "port"),
        ("", "no host"),
        ("redis://u:secret@h/x", "database"),
        ("redis://h?secret=1", "unknown option"),
        ("redis://h?io_timeout=x", "duration"),
        ("redis://h?force_resp2=maybe", "neither true nor false"),
        ("redis://h?addr=i:1", "redis+cluster"),
        ("redis+sentinel://h", "sentinel_master_name"),
        ("redis+cluster://h/3", "database"),
        ("unix://", "no path"),
        ("redis://h?replica_client_enabled=true", "replicas"),
    ] {
        let error = locations(&options(address)).unwrap_err().to_string();
        assert!(
            error.starts_with("Redis address number 1") && error.contains(why),
            "{address}: {error}"
        );
        assert!(
            !error.contains("secret@") && !error.contains(":secret"),
            "{error}"
        );
    }
}
