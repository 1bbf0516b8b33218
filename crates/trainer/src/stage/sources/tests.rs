use super::*;

#[test]
fn an_outline_names_stretches_and_no_text() {
    assert_eq!(outline(&[false, true, true, false, true]), "5 tokens; in the loss: 1..3, 4..5");
    assert_eq!(outline(&[false, false]), "2 tokens; in the loss: none");
}

#[test]
fn a_plan_that_would_fill_the_memory_is_refused() {
    let sources = [Source { lengths: vec![10; 1000], weight: 1.0 }];
    let training = |epochs, max_steps, batch_size| Training { epochs, max_steps, batch_size, ..Training::default() };
    check_size(&training(3, None, None), &sources).unwrap();
    check_size(&training(1, Some(1000), None), &sources).unwrap();
    for too_much in
        [training(1_000_000, None, None), training(1, Some(1_000_000), None), training(1, Some(100_000_000), Some(8))]
    {
        let error = check_size(&too_much, &sources).unwrap_err().to_string();
        assert!(error.contains("more than the 5e8 that a plan may hold: lower the weights in --data"), "{error}");
    }
}

#[test]
fn a_file_whose_name_has_a_colon_and_weights_that_are_slips() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for name in ["a:b.jsonl", "v:2", "v"] {
        std::fs::write(path(name), "").unwrap();
    }
    let sources = |text: String| Training { data: vec![text], ..Training::default() }.sources();
    assert_eq!(sources(path("a:b.jsonl")).unwrap(), [(path("a:b.jsonl").into(), 1.0)]);
    assert_eq!(sources(path("v:2")).unwrap(), [(path("v:2").into(), 1.0)]);
    assert_eq!(sources(path("v:2:3")).unwrap(), [(path("v:2").into(), 3.0)]);
    assert_eq!(sources(path("v:0.5")).unwrap(), [(path("v").into(), 0.5)]);
    for slip in ["1e9", "-1", "inf", "NaN"] {
        let error = sources(path(&format!("v:{slip}"))).unwrap_err().to_string();
        assert!(error.contains("it must lie between 0 and 1000"), "{error}");
    }
}

#[test]
fn the_context_limits_the_length() {
    let training = |max_length| Training { max_length, model: "m".into(), ..Training::default() };
    assert_eq!(training(None).max_length_in(128).unwrap(), 128);
    assert_eq!(training(None).max_length_in(100_000).unwrap(), 2048);
    assert_eq!(training(Some(128)).max_length_in(128).unwrap(), 128);
    let error = training(Some(129)).max_length_in(128).unwrap_err().to_string();
    assert!(error.contains("lower --max-length to 128") && error.contains("extend the model's context"), "{error}");
}
