//! The picture check, on a graph that runs.

use super::support::*;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::platform::{Platform, Value};
use crate::units::MediaTime;
use std::sync::Arc;
use std::time::Duration;

/// One rung of the source's own size over two segments: whatever stands in the scaler's place need not
/// scale.
fn checked(change: impl FnOnce(&mut Platform)) -> (Arc<Objects>, Outcome) {
    let mut platform = Platform::builtin("software").unwrap();
    platform.encode.check_pictures = true;
    change(&mut platform);
    let plan = karma(vec![rung("480p", (854, 480), None, 60, 0)], 120, 60, MediaTime::ZERO);
    let objects = Arc::new(Objects::default());
    let clip = Clip::open("gopro-karma.mp4");
    let stall = Duration::from_secs(20);
    let outcome = run_on(&platform, &plan, &plan.whole(), clip, objects.clone(), &Cancel::new(), stall);
    (objects, outcome)
}

#[test]
fn what_was_encoded_as_it_went_in_passes() {
    let (objects, outcome) = checked(|_| {});
    assert_eq!(outcome.result.unwrap().rungs[0].segments.len(), 2);
    assert_eq!(objects.segments(), 2);
}

/// Between the gate and the encoder all difference is taken away, or all light.
#[test]
fn what_was_encoded_is_not_what_went_in_and_is_not_stored() {
    for (property, value) in [("contrast", "0.0"), ("brightness", "-1.0")] {
        let (objects, outcome) = checked(|platform| {
            let scale = &mut platform.pictures[0].scale;
            scale.element = "videobalance".to_owned();
            scale.properties.insert(property.to_owned(), Value::Text(value.to_owned()));
        });
        let error = outcome.result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Machine, "{error}");
        let Error::Platform { reason, .. } = &error else { panic!("{error}") };
        assert!(reason.contains("rung 480p segment 0") && reason.contains("dB"), "{reason}");
        assert_eq!(objects.segments(), 0, "{property}");
    }
}
