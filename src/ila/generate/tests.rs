//! Laws of generated identifiers (ILA draft appendix A).

use super::*;
use crate::ila::IdentifierType;
use proptest::prelude::*;
use std::collections::HashSet;

const HOST: Eui64 = Eui64(0x0200_00ff_fe00_000a);
const TICK: Duration = Duration::from_millis(TICK_MS);

fn is_made(identifier: Identifier) -> bool {
    identifier.kind() == IdentifierType::LocallyUnique
        && !identifier.neutral()
        && identifier.zero_alias().is_none()
}

// RFC 5905 §6
#[test]
fn rfc_5905_figure_4_times_in_the_format_of_ntp() {
    let at = |seconds, nanoseconds| NtpTime::of_unix(Duration::new(seconds, nanoseconds)).0;
    assert_eq!(at(0, 0), 2_208_988_800 << 32);
    assert_eq!(at(0, 500_000_000), (2_208_988_800 << 32) | 0x8000_0000);
    assert_eq!(at(63_072_000, 0), 2_272_060_800 << 32);
    // The last second of era 0 and the first of era 1, on 7 February 2036.
    assert_eq!(at(2_085_978_495, 999_999_999) >> 32, 0xffff_ffff);
    assert_eq!(at(2_085_978_496, 0), 0);
}

// RFC 4193 §3.2.2, ILA draft appendix A.1
#[test]
fn rfc_4193_section_3_2_2_the_low_bits_of_sha_1_over_time_and_eui_64() {
    // sha1(e5f3b2a180000000 020000fffe00000a) = 0dfaff3efa66f8f94fb0ecd6e6101572e6421ef9,
    // and that of the next time ends in 596ff2205df4635.
    let mut made = Hashed::new(NtpTime(0xe5f3_b2a1_8000_0000), HOST);
    assert_eq!(made.next(), Some(Identifier(0x2610_1572_e642_1ef9)));
    assert_eq!(made.next(), Some(Identifier(0x2596_ff22_05df_4635)));
}

#[test]
fn a_hash_that_ends_in_one_of_the_two_zeros_is_passed_over() {
    // The digests of these times end in c142700000 and 5cdcffff. The identifiers come from the digests of the next
    // time.
    let first = |time| Hashed::new(NtpTime(time), HOST).next();
    assert_eq!(first(0xe5f3_b2a1_8000_4f66), Some(Identifier(0x25c3_c9e2_086e_6043)));
    assert_eq!(first(0xe5f3_b2a1_8001_87ba), Some(Identifier(0x2427_2c42_a6ba_33f8)));
}

// ILA draft appendix A.2
#[test]
fn appendix_a_2_24_bits_of_block_and_36_of_stamp() {
    let mut block = Block::new(Registrar::new(0x00ab_cdef).unwrap());
    let made = block.draw(Duration::from_millis(0x1_2345_6789 * TICK_MS + 9));
    assert_eq!(made, Identifier(0x2abc_def1_2345_6789));
    assert_eq!(block.busy_until(), Duration::from_millis(0x1_2345_678a * TICK_MS));
}

// ILA draft appendix A.2
#[test]
fn appendix_a_2_a_hundred_a_second_last_21_8_years() {
    let usable = (1u64 << STAMP_BITS) as f64 * 65_534.0 / 65_536.0;
    let years = usable * TICK_MS as f64 / 1000.0 / 86_400.0 / 365.25;
    assert_eq!(format!("{years:.1}"), "21.8");
}

#[test]
fn a_stamp_that_ends_in_one_of_the_two_zeros_is_passed_over() {
    let mut block = Block::new(Registrar::new(1).unwrap());
    let now = TICK * 0xfffd;
    let low: Vec<u64> = (0..4).map(|_| block.draw(now).0 & 0xf_ffff).collect();
    assert_eq!(low, [0xfffd, 0xfffe, 0x1_0001, 0x1_0002]);
}

#[test]
fn drawing_faster_than_the_clock_borrows_from_the_future_and_repeats_nothing() {
    let mut block = Block::new(Registrar::new(7).unwrap());
    let now = Duration::from_secs(1_800_000_000);
    let count = if cfg!(miri) { 1_000 } else { 200_000 };
    let made: HashSet<u64> = (0..count).map(|_| block.draw(now).0).collect();
    assert_eq!(made.len(), count as usize);
    assert!(block.busy_until() >= now + TICK * count);
}

#[test]
fn a_clock_that_goes_back_is_not_followed() {
    let mut block = Block::new(Registrar::new(7).unwrap());
    let late = block.draw(Duration::from_secs(1000));
    assert_eq!(block.draw(Duration::from_secs(10)).0, late.0 + 1);
}

#[test]
fn a_block_resumed_goes_on_where_it_was() {
    let mut block = Block::new(Registrar::new(7).unwrap());
    let now = Duration::from_secs(1000);
    let before = block.draw(now);
    let mut again = Block::resume(Registrar::new(7).unwrap(), block.busy_until());
    assert_eq!(again.draw(now).0, before.0 + 1);
}

#[test]
fn stamps_do_not_repeat_when_ntp_starts_again_in_2036() {
    let mut block = Block::new(Registrar::new(7).unwrap());
    let rollover = Duration::from_secs(2_085_978_496);
    let before = block.draw(rollover - TICK);
    assert_eq!(block.draw(rollover).0, before.0 + 1);
}

// ILA draft appendix A.1, RFC 4193 §3.2.3
#[test]
fn appendix_a_1_the_table_of_odds() {
    for (population, odds) in
        [(1000, "4.3368e-13"), (10_000, "4.3368e-11"), (100_000, "4.3368e-9"), (1_000_000, "4.3368e-7")]
    {
        assert_eq!(format!("{:.4e}", collision_odds(population, BITS)), odds, "{population}");
    }
}

#[test]
fn odds_are_a_probability_that_grows() {
    assert_eq!(collision_odds(0, BITS), 0.0);
    assert_eq!(collision_odds(u64::MAX, BITS), 1.0);
    let mut before = 0.0;
    for shift in 0..34 {
        let odds = collision_odds(1 << shift, BITS);
        assert!(odds > before && odds < 1.0, "{shift}");
        before = odds;
    }
    // The odds are one half at about 1.18 * 2^30 identifiers.
    assert!((collision_odds(1_264_000_000, BITS) - 0.5).abs() < 0.001);
}

#[test]
fn eui_64_in_text_and_of_a_mac_address() {
    let eui: Eui64 = "02-00-00-FF-fe-00-00-0a".parse().unwrap();
    assert_eq!((eui, eui.to_string().as_str()), (HOST, "02:00:00:ff:fe:00:00:0a"));
    // RFC 4291 appendix A inverts the universal/local bit.
    assert_eq!("00:00:00:00:00:0a".parse(), Ok(HOST));
    for wrong in ["", "02:00", "02:00:00:ff:fe:00:00", "02:00:00:ff:fe:00:00:zz", "020000fffe00000a"] {
        assert!(wrong.parse::<Eui64>().unwrap_err().to_string().contains("write for example"), "{wrong}");
    }
}

#[test]
fn registrar_blocks_have_24_bits() {
    assert_eq!("42".parse::<Registrar>().unwrap().number(), 42);
    assert_eq!("0xFFffff".parse::<Registrar>().unwrap().number(), 16_777_215);
    for wrong in ["", "0x", "+1", "-1", "16777216", "0x1000000", "2a", "4294967296"] {
        assert!(wrong.parse::<Registrar>().unwrap_err().to_string().contains("0 to 16777215"), "{wrong}");
    }
}

proptest! {
    #[test]
    fn what_is_made_is_a_task_without_a_twin(time: u64, host: u64, registrar in 0u32..1 << 24, ticks in 0u64..1 << 40) {
        let mut made = Hashed::new(NtpTime(time), Eui64(host));
        let mut block = Block::new(Registrar::new(registrar).unwrap());
        for _ in 0..4 {
            let now = Duration::from_millis(ticks * TICK_MS);
            prop_assert!(is_made(made.next().unwrap()) && is_made(block.draw(now)));
        }
    }

    #[test]
    fn any_time_will_do(seconds: u64, nanoseconds in 0u32..1_000_000_000) {
        let now = Duration::new(seconds, nanoseconds);
        let mut block = Block::resume(Registrar::new(1).unwrap(), now);
        prop_assert!(is_made(block.draw(now)) && is_made(block.draw(Duration::ZERO)));
        prop_assert!(is_made(Hashed::new(NtpTime::of_unix(now), HOST).next().unwrap()));
    }
}

#[test]
fn a_block_is_what_lies_between_its_first_and_its_last_identifier() {
    let block = Registrar::new(0x00ab_cdef).unwrap();
    let (first, last) = block.range();
    assert_eq!((first.0, last.0), (0x2abc_def0_0000_0000, 0x2abc_deff_ffff_ffff));
    assert_eq!((Registrar::of(first), Registrar::of(last)), (Some(block), Some(block)));
    assert_ne!(Registrar::of(Identifier(last.0 + 1)), Some(block));
    assert_eq!(Registrar::of(Identifier(0x4abc_def0_0000_0000)), None);
    assert_eq!(block.to_string(), "0xabcdef");
}

#[test]
fn nothing_is_drawn_of_times_to_come_nor_twice_over_a_restart() {
    let (registrar, back) = (Registrar::new(7).unwrap(), TICK * 10);
    let now = Duration::from_millis(0x1_2345_0000 * TICK_MS);
    let mut block = Block::new(registrar);
    let drawn: Vec<_> = std::iter::from_fn(|| block.draw_past(now, back)).collect();
    // What ends in one of the two zeros is passed over.
    assert_eq!((drawn.len(), block.busy_until()), (9, now - TICK));
    let last = drawn.iter().max().copied().unwrap();
    // The clock went back: nothing is drawn before it is where it was.
    let mut again = Block::after(registrar, last, now - TICK * 500);
    assert_eq!(again.draw_past(now - TICK * 500, back), None);
    let next = again.draw_past(now + TICK * 3, back).unwrap();
    assert!(next > last);
    // Long after, stamps begin at the time and not where they were.
    let mut later = Block::after(registrar, last, now + TICK * 5_000);
    let next = later.draw_past(now + TICK * 5_000, back).unwrap();
    assert_eq!(next.0 & 0xffff_ffff, 0x2345_0000 + 5_000 - 10);
}
