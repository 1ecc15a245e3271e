//! Unix milliseconds as a person reads them: clock and calendar, without a clock of its own.

/// How far local time is from UTC. One offset for all times: near a change of summer time, old messages may show an
/// hour off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Zone {
    offset_s: i64,
}

impl Zone {
    /// Reads `+hhmm` or `-hhmm`, as `date +%z` prints it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (sign, digits) = match text.split_at_checked(1)? {
            ("+", digits) => (1, digits),
            ("-", digits) => (-1, digits),
            _ => return None,
        };
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: i64 = digits.parse().ok()?;
        Some(Self { offset_s: sign * (number / 100 * 3600 + number % 100 * 60) })
    }

    /// The moment `ms` after 1970 in this zone.
    pub fn moment(self, ms: u64) -> Moment {
        let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX / 2) + self.offset_s;
        Moment { day: seconds.div_euclid(86_400), second: seconds.rem_euclid(86_400) }
    }
}

/// A day and a time of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Days since 1970-01-01.
    pub day: i64,
    second: i64,
}

impl Moment {
    /// `14:02`.
    pub fn clock(self) -> String {
        format!("{:02}:{:02}", self.second / 3600, self.second / 60 % 60)
    }

    /// `Today`, `Yesterday`, `Monday 3 August`, or with the year when it is another than that of `now`.
    pub fn day_name(self, now: Self) -> String {
        match now.day - self.day {
            0 => return "Today".to_owned(),
            1 => return "Yesterday".to_owned(),
            _ => {}
        }
        let (year, month, day) = self.date();
        let weekday = WEEKDAYS[(self.day + 3).rem_euclid(7) as usize];
        let month = MONTHS[(month - 1) as usize];
        if year == now.date().0 {
            format!("{weekday} {day} {month}")
        } else {
            format!("{weekday} {day} {month} {year}")
        }
    }

    /// Year, month from 1, day from 1: Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    fn date(self) -> (i64, i64, i64) {
        let shifted = self.day + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }
}

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_read_right() {
        let utc = Zone::default();
        let leap = utc.moment(1_709_209_800_000);
        assert_eq!(leap.clock(), "12:30");
        assert_eq!(leap.day_name(utc.moment(1_709_500_000_000)), "Thursday 29 February");
        assert_eq!(utc.moment(0).day_name(leap), "Thursday 1 January 1970");
        assert_eq!(utc.moment(u64::MAX).clock().len(), 5);
        assert!(utc.moment(u64::MAX).day_name(leap).len() > 8);
    }

    #[test]
    fn zone_moves_clock_and_day() {
        let zone = Zone::parse("+0530\n").unwrap();
        let moment = zone.moment(1_709_209_800_000 + 7 * 3_600_000);
        assert_eq!(moment.clock(), "01:00");
        assert_eq!(moment.day_name(zone.moment(1_709_209_800_000 + 7 * 3_600_000)), "Today");
        assert_eq!(Zone::default().moment(1_709_209_800_000).day_name(moment), "Yesterday");
        assert_eq!(Zone::parse("-0330").unwrap().moment(0).clock(), "20:30");
        for wrong in ["", "0530", "+05", "+05:30", "+ab12", "é123"] {
            assert_eq!(Zone::parse(wrong), None, "{wrong}");
        }
    }
}
