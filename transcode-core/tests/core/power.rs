//! What the benches read as power, out of the files that a board's kernel shows.

#[allow(dead_code, reason = "the bench uses all of it")]
#[path = "../../../benches/power.rs"]
mod meter;

use meter::Meter;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn monitor(sys: &Path, number: u32, rails: &[(&str, u32, u32)]) {
    let folder = sys.join(format!("class/hwmon/hwmon{number}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("name"), "ina3221\n").unwrap();
    for (channel, (label, millivolts, milliamperes)) in (1..).zip(rails) {
        fs::write(folder.join(format!("in{channel}_label")), format!("{label}\n")).unwrap();
        fs::write(folder.join(format!("in{channel}_input")), format!("{millivolts}\n")).unwrap();
        fs::write(folder.join(format!("curr{channel}_input")), format!("{milliamperes}\n")).unwrap();
    }
}

/// Watts over a quarter of a second, from joules and the time that they were added up in.
fn watts(sys: &Path) -> Option<f64> {
    let meter = Arc::new(Meter::below(sys));
    let began = std::time::Instant::now();
    let running = meter.start();
    std::thread::sleep(Duration::from_millis(250));
    let joules = running.stop()?;
    Some(joules / began.elapsed().as_secs_f64())
}

#[test]
fn the_rail_of_a_whole_module_stands_for_its_parts() {
    let sys = tempfile::tempdir().unwrap();
    // An Orin Nano's monitor: the module, and two parts of it.
    monitor(sys.path(), 3, &[("VDD_IN", 5000, 1400), ("VDD_CPU_GPU_CV", 5000, 500), ("VDD_SOC", 5000, 300)]);
    assert_eq!(Meter::below(sys.path()).what(), "rail VDD_IN");
    let watts = watts(sys.path()).unwrap();
    assert!((6.5..=7.1).contains(&watts), "5 V and 1.4 A are 7 W, not {watts}");
}

#[test]
fn rails_of_boards_without_a_whole_are_added_up() {
    let sys = tempfile::tempdir().unwrap();
    monitor(sys.path(), 0, &[("VDD_GPU_SOC", 20000, 400), ("VDD_CPU_CV", 20000, 100), ("NC", 20000, 900)]);
    monitor(sys.path(), 1, &[("VIN_SYS_5V0", 5000, 400)]);
    assert_eq!(Meter::below(sys.path()).what(), "rail VDD_GPU_SOC + rail VDD_CPU_CV + rail VIN_SYS_5V0");
    let watts = watts(sys.path()).unwrap();
    assert!((11.0..=12.1).contains(&watts), "8 + 2 + 2 W, not {watts}");
}

#[test]
fn a_counter_that_begins_again_has_not_given_energy_back() {
    let sys = tempfile::tempdir().unwrap();
    let package = sys.path().join("class/powercap/intel-rapl:0");
    let part = sys.path().join("class/powercap/intel-rapl:0:0");
    for folder in [&package, &part] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("name"), "package-0\n").unwrap();
        fs::write(folder.join("max_energy_range_uj"), "10000000\n").unwrap();
        fs::write(folder.join("energy_uj"), "9000000\n").unwrap();
    }
    let meter = Arc::new(Meter::below(sys.path()));
    assert_eq!(meter.what(), "counter package-0", "its parts are in it");
    let running = meter.start();
    std::thread::sleep(Duration::from_millis(150));
    // In one step: nobody reads an empty file.
    fs::write(package.join("next"), "2000000\n").unwrap();
    fs::rename(package.join("next"), package.join("energy_uj")).unwrap();
    let joules = running.stop().unwrap();
    assert!((joules - 3.0).abs() < 1e-6, "1 J to the end of the range and 2 behind it, not {joules}");
}

#[test]
fn a_machine_that_does_not_tell_has_no_figure() {
    let sys = tempfile::tempdir().unwrap();
    assert_eq!((Meter::below(sys.path()).what().as_str(), watts(sys.path())), ("", None));
}
