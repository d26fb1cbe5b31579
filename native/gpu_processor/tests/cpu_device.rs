//! The promises of a device, held by the CPU.

// In a test, and in what it calls, a failed unwrap is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use bytes::Bytes;
use gpu_processor::{
    CpuDevice, Device, DeviceError, DeviceInfo, DeviceStatus, GpuProcessingConfig, Job, Kernel,
    MessageError, MessageErrorKind, Priority, Processor, ProcessorError, SubmitError, Task,
    QUEUE_CAPACITY,
};
use harness::{compute_job, data, message, outcome, reply, submit, task};
use serde_json::json;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

/// Returns each input, after what the input asks for.
struct Scripted {
    gate: Mutex<Receiver<()>>,
    entered: Mutex<Sender<()>>,
    meeting: Barrier,
}

impl Kernel for Scripted {
    fn processing_type(&self) -> &'static str {
        "scripted"
    }

    fn run_on_cpu(&self, _: &DeviceInfo, inputs: &[Bytes]) -> Vec<Result<Bytes, MessageError>> {
        let mut outputs = Vec::new();
        for input in inputs {
            match input.as_ref() {
                b"wait" => {
                    self.entered.lock().unwrap().send(()).unwrap();
                    // An error means that the test let everything go.
                    let _ = self.gate.lock().unwrap().recv();
                }
                b"meet" => {
                    self.meeting.wait();
                }
                b"panic" => panic!("asked to"),
                b"forget" => continue,
                b"refuse" => {
                    outputs.push(Err(MessageError::new(MessageErrorKind::InvalidInput, "no")));
                    continue;
                }
                _ => {}
            }
            outputs.push(Ok(input.clone()));
        }
        outputs
    }
}

struct Stage {
    job: Arc<Job>,
    release: Sender<()>,
    entered: Receiver<()>,
}

fn stage() -> Stage {
    let (release, gate) = mpsc::channel();
    let (enter, entered) = mpsc::channel();
    let kernel = Scripted {
        gate: Mutex::new(gate),
        entered: Mutex::new(enter),
        meeting: Barrier::new(2),
    };
    Stage {
        job: Arc::new(Job::from_kernel(Arc::new(kernel))),
        release,
        entered,
    }
}

fn start(threads: usize, memory_pool_size_mb: u64) -> CpuDevice {
    let config = GpuProcessingConfig {
        processing_threads: threads,
        memory_pool_size_mb,
        ..Default::default()
    };
    CpuDevice::start(&config).unwrap()
}

fn inputs(texts: &[&'static str]) -> Vec<Bytes> {
    texts
        .iter()
        .map(|text| Bytes::from_static(text.as_bytes()))
        .collect()
}

#[test]
fn a_batch_over_several_threads_keeps_its_order() {
    let device = start(4, 256);
    let batch: Vec<Bytes> = (0_u32..5000)
        .map(|index| message("sha256", &index.to_le_bytes(), json!({"index": index})))
        .collect();
    let many = outcome(&submit(&device, &compute_job(), batch.clone()).unwrap()).unwrap();
    assert_eq!(many.outputs.len(), batch.len());
    let single = start(1, 256);
    let one = outcome(&submit(&single, &compute_job(), batch.clone()).unwrap()).unwrap();
    for (many, one) in many.outputs.iter().zip(&one.outputs) {
        assert_eq!(data(&reply(many)), data(&reply(one)));
    }
    let lengths: usize = batch.iter().map(Bytes::len).sum::<usize>()
        + many.outputs.iter().flatten().map(Bytes::len).sum::<usize>();
    assert_eq!(many.memory_used, lengths as u64);
    assert_eq!(many.device.as_ref(), device.info().as_ref());
}

#[test]
fn the_messages_of_a_batch_run_on_several_threads_at_once() {
    let stage = stage();
    let device = start(2, 256);
    let mut batch = vec![Bytes::from_static(b"x"); 128];
    // Two chunks that end only when both are running.
    batch[0] = Bytes::from_static(b"meet");
    batch[127] = Bytes::from_static(b"meet");
    let result = outcome(&submit(&device, &stage.job, batch.clone()).unwrap()).unwrap();
    let outputs: Vec<Bytes> = result.outputs.into_iter().map(Result::unwrap).collect();
    assert_eq!(outputs, batch);
}

#[test]
fn an_empty_batch_has_an_empty_result() {
    let result = outcome(&submit(&start(2, 1), &compute_job(), vec![]).unwrap()).unwrap();
    assert!(result.outputs.is_empty());
    assert_eq!(result.memory_used, 0);
}

#[test]
fn the_queue_is_bounded_and_gives_the_task_back() {
    let stage = stage();
    let device = start(1, 256);
    let running = submit(&device, &stage.job, inputs(&["wait"])).unwrap();
    stage.entered.recv().unwrap();
    let waiting: Vec<_> = (1..QUEUE_CAPACITY)
        .map(|_| submit(&device, &stage.job, inputs(&["x"])).unwrap())
        .collect();
    let load = device.load();
    assert_eq!(
        (load.queued_tasks, load.queued_bytes),
        (QUEUE_CAPACITY, 4 + 999)
    );
    assert!(load.busy);

    let (refused, late) = task(&stage.job, inputs(&["late"]));
    let Err(SubmitError::QueueFull(refused)) = device.submit(refused) else {
        panic!("the task after the last must be refused");
    };
    assert_eq!(refused.inputs(), inputs(&["late"]));

    stage.release.send(()).unwrap();
    outcome(&running).unwrap();
    device.submit(refused).unwrap();
    for outcomes in waiting {
        outcome(&outcomes).unwrap();
    }
    assert_eq!(
        outcome(&late).unwrap().outputs[0].as_deref(),
        Ok(b"late".as_slice())
    );
    let load = device.load();
    assert_eq!(
        (load.queued_tasks, load.queued_bytes, load.completed),
        (0, 0, 1001)
    );
    assert!(!load.busy);
}

#[test]
fn the_queue_is_bounded_in_bytes() {
    let stage = stage();
    let device = start(1, 1);
    let large = vec![Bytes::from(vec![0; 600 * 1024])];
    let running = submit(&device, &stage.job, inputs(&["wait"])).unwrap();
    stage.entered.recv().unwrap();
    let first = submit(&device, &stage.job, large.clone()).unwrap();
    let refused = submit(&device, &stage.job, large.clone());
    assert!(matches!(refused, Err(SubmitError::QueueFull(_))));
    stage.release.send(()).unwrap();
    outcome(&running).unwrap();
    outcome(&first).unwrap();
    outcome(&submit(&device, &stage.job, large).unwrap()).unwrap();
}

#[test]
fn higher_priorities_are_served_first() {
    let stage = stage();
    let device = start(1, 256);
    submit(&device, &stage.job, inputs(&["wait"])).unwrap();
    stage.entered.recv().unwrap();
    let (reply, order) = mpsc::channel();
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let reply = reply.clone();
        let done = move |_| reply.send(priority).unwrap();
        device
            .submit(Task::new(Arc::clone(&stage.job), vec![], priority, done))
            .unwrap();
    }
    drop(reply);
    stage.release.send(()).unwrap();
    // The running task took a normal turn, and the turn after it is a high one.
    assert_eq!(order.iter().next(), Some(Priority::High));
}

#[test]
fn a_panic_fails_its_batch_only() {
    let stage = stage();
    for threads in [1, 3] {
        let device = start(threads, 256);
        let mut batch = vec![Bytes::from_static(b"x"); 500];
        batch[321] = Bytes::from_static(b"panic");
        let result = outcome(&submit(&device, &stage.job, batch).unwrap());
        let expected = DeviceError::KernelPanicked {
            processing_type: "scripted",
            message: "asked to".to_owned(),
        };
        assert_eq!(result.expect_err("the kernel panicked"), expected);
        for _ in 0..3 {
            let batch = vec![Bytes::from_static(b"x"); 500];
            let result = outcome(&submit(&device, &stage.job, batch).unwrap()).unwrap();
            assert_eq!(result.outputs.len(), 500);
        }
        assert_eq!(device.load().completed, 4);
    }
}

#[test]
fn a_message_error_leaves_the_others_alone() {
    let stage = stage();
    let batch = inputs(&["a", "refuse", "b"]);
    let result = outcome(&submit(&start(1, 1), &stage.job, batch).unwrap()).unwrap();
    let kinds: Vec<_> = result
        .outputs
        .iter()
        .map(|output| output.as_ref().map_err(|e| e.code()))
        .collect();
    let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
    assert_eq!(kinds, [Ok(&a), Err("invalid_input"), Ok(&b)]);
}

#[test]
fn a_kernel_that_forgets_an_input_fails_the_batch() {
    let stage = stage();
    let result = outcome(&submit(&start(1, 1), &stage.job, inputs(&["a", "forget"])).unwrap());
    let error = result.expect_err("one output is missing");
    assert_eq!(
        error,
        DeviceError::OutputCount {
            expected: 2,
            got: 1
        }
    );
}

#[test]
fn a_panic_in_a_callback_does_not_end_the_device() {
    let stage = stage();
    let device = start(1, 1);
    let done = |_| panic!("the callback's own fault");
    device
        .submit(Task::new(
            Arc::clone(&stage.job),
            vec![],
            Priority::Normal,
            done,
        ))
        .unwrap();
    outcome(&submit(&device, &stage.job, inputs(&["a"])).unwrap()).unwrap();
}

#[test]
fn closing_drains_what_was_accepted_and_refuses_the_rest() {
    let stage = stage();
    let device = Arc::new(start(2, 256));
    let mut accepted = vec![submit(device.as_ref(), &stage.job, inputs(&["wait"])).unwrap()];
    stage.entered.recv().unwrap();
    for _ in 0..50 {
        accepted.push(submit(device.as_ref(), &stage.job, inputs(&["x"])).unwrap());
    }
    let closer = thread::spawn({
        let device = Arc::clone(&device);
        move || device.close()
    });
    stage.release.send(()).unwrap();
    closer.join().unwrap();
    // Every outcome is there when close returns.
    for outcomes in &accepted {
        assert!(outcomes
            .try_recv()
            .expect("drained before close returned")
            .is_ok());
    }
    let (late, outcomes) = task(&stage.job, inputs(&["x"]));
    assert!(matches!(device.submit(late), Err(SubmitError::Lost(_))));
    assert_eq!(
        outcome(&outcomes).expect_err("refused and dropped"),
        DeviceError::Lost
    );
    device.close();
}

#[test]
fn the_last_handle_may_be_dropped_in_a_callback() {
    let stage = stage();
    let device = Arc::new(start(2, 256));
    submit(device.as_ref(), &stage.job, inputs(&["wait"])).unwrap();
    stage.entered.recv().unwrap();
    let (report, done) = mpsc::channel();
    let handle = Arc::clone(&device);
    let callback = move |_| {
        drop(handle);
        report.send(()).unwrap();
    };
    device
        .submit(Task::new(
            Arc::clone(&stage.job),
            vec![],
            Priority::Normal,
            callback,
        ))
        .unwrap();
    let last = submit(device.as_ref(), &stage.job, inputs(&["x"])).unwrap();
    drop(device);
    stage.release.send(()).unwrap();
    done.recv().unwrap();
    outcome(&last).unwrap();
}

#[test]
fn a_processor_has_the_cpu_and_says_so() {
    let config = GpuProcessingConfig {
        gpu_device_ids: vec![0, 1],
        ..Default::default()
    };
    let processor = Processor::start(&config).unwrap();
    let devices: Vec<DeviceStatus> = processor.devices();
    assert_eq!(devices.len(), 1);
    let text = serde_json::to_value(&devices[0]).unwrap();
    assert_eq!(text["info"]["backend"], "cpu");
    assert_eq!(text["info"]["architecture"], std::env::consts::ARCH);

    let (task, outcomes) = task(&compute_job(), vec![message("sha256", b"abc", json!({}))]);
    processor.submit(task).unwrap();
    let result = outcome(&outcomes).unwrap();
    assert_eq!(reply(&result.outputs[0])["device"]["backend"], "cpu");
    processor.close();
}

#[test]
fn a_processor_refuses_to_start_when_it_may_not() {
    let config = GpuProcessingConfig {
        enabled: false,
        ..Default::default()
    };
    let error = Processor::start(&config).expect_err("switched off");
    assert!(matches!(error, ProcessorError::GpuProcessingNotEnabled));
    let config = GpuProcessingConfig {
        batch_size: 0,
        ..Default::default()
    };
    let error = Processor::start(&config).expect_err("not allowed");
    assert!(matches!(error, ProcessorError::InvalidOption(option) if option.key == "batch_size"));
}
