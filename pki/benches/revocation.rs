//! How long revocation lists take: `cargo bench -p keygate-pki`.
//!
//! The aims: 100,000 revoked clients as ten full shards, built and signed, in 200 ms; one changed shard in 20 ms.

use divan::{Bencher, black_box};
use keygate_pki::{
    CrlScope, CrlTimes, DistinguishedName, HttpUrl, Issuer, NewCrl, OffsetDateTime, PrivateKey, Reason, RevokedList,
    SHARD_SERIALS_MAX, SignatureAlgorithm, SystemSerials, Tier, Window,
};

fn main() {
    divan::main();
}

struct World {
    certificate: keygate_pki::Certificate,
    key: PrivateKey,
    url: HttpUrl,
    now: OffsetDateTime,
    serials: Vec<[u8; 17]>,
}

fn world(shards: usize) -> World {
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a moment");
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256).expect("a key");
    let name = DistinguishedName::new(None, "issuer").expect("a name");
    let window = Window::days(now, Tier::Root.days()).expect("a window");
    let certificate = Issuer::root(&name, &key, window, &mut SystemSerials).expect("a certificate");
    let serial = |n: usize| {
        let mut serial = [0x4b; 17];
        serial[9..].copy_from_slice(&n.to_be_bytes());
        serial
    };
    let serials = (0..shards * SHARD_SERIALS_MAX).map(serial).collect();
    World { certificate, key, url: "http://pki.example/crl/1".parse().expect("a URL"), now, serials }
}

fn shards(world: &World) -> usize {
    let issuer = Issuer::new(&world.certificate, &world.key).expect("an issuer");
    let times = CrlTimes::new(world.now, world.now + time::Duration::DAY).expect("times");
    let mut bytes = 0;
    for shard in world.serials.chunks(SHARD_SERIALS_MAX) {
        let mut revoked = RevokedList::with_capacity(shard.len());
        for serial in shard {
            revoked.push(serial, world.now, Reason::KeyCompromise).expect("an entry");
        }
        let wish = NewCrl { scope: CrlScope::Shard(&world.url), number: 1, times, revoked: &revoked };
        bytes += issuer.crl(&wish).expect("a CRL").der().len();
    }
    bytes
}

/// Ten full shards from serial numbers to signed lists.
#[divan::bench(sample_count = 50)]
fn ten_full_shards(bencher: Bencher<'_, '_>) {
    let world = world(10);
    bencher.bench(|| black_box(shards(&world)));
}

/// One full shard.
#[divan::bench]
fn one_full_shard(bencher: Bencher<'_, '_>) {
    let world = world(1);
    bencher.bench(|| black_box(shards(&world)));
}

/// The list of a parent: three keys with two certificates each.
#[divan::bench]
fn parent_list(bencher: Bencher<'_, '_>) {
    let mut world = world(1);
    world.serials.truncate(6);
    bencher.bench(|| black_box(shards(&world)));
}
