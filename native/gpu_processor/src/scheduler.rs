//! The choice of a device for each task.

use std::sync::Arc;

use crate::device::{Device, SubmitError};
use crate::task::Task;

/// Gives the task to the device with the fewest queued bytes (then the fewest tasks, then the
/// first in the table). A device that refuses it is passed over for the next.
pub(crate) fn submit(devices: &[Arc<dyn Device>], task: Task) -> Result<(), SubmitError> {
    if let [only] = devices {
        return only.submit(task);
    }
    let mut order: Vec<_> = devices
        .iter()
        .map(|device| {
            let load = device.load();
            (load.queued_bytes, load.queued_tasks, device)
        })
        .collect();
    order.sort_by_key(|(bytes, tasks, _)| (*bytes, *tasks));

    let mut any_full = false;
    let mut task = task;
    for (_, _, device) in order {
        match device.submit(task) {
            Ok(()) => return Ok(()),
            Err(error) => {
                any_full |= matches!(error, SubmitError::QueueFull(_));
                task = error.into_task();
            }
        }
    }
    // A full device has room again later; closed ones have not.
    Err(if any_full {
        SubmitError::QueueFull(task)
    } else {
        SubmitError::Lost(task)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Backend, DeviceInfo, DeviceLoad};
    use crate::job::Job;
    use crate::task::Priority;
    use std::sync::Mutex;

    enum Answer {
        Accept,
        Full,
        Closed,
    }

    struct Scripted {
        info: Arc<DeviceInfo>,
        load: DeviceLoad,
        answer: Answer,
        accepted: Mutex<Vec<Task>>,
    }

    impl Device for Scripted {
        fn info(&self) -> &Arc<DeviceInfo> {
            &self.info
        }
        fn load(&self) -> DeviceLoad {
            self.load
        }
        fn submit(&self, task: Task) -> Result<(), SubmitError> {
            match self.answer {
                Answer::Accept => self.accepted.lock().unwrap().push(task),
                Answer::Full => return Err(SubmitError::QueueFull(task)),
                Answer::Closed => return Err(SubmitError::Lost(task)),
            }
            Ok(())
        }
        fn close(&self) {}
    }

    fn device(queued_bytes: u64, queued_tasks: usize, answer: Answer) -> Arc<Scripted> {
        let info = DeviceInfo {
            id: 0,
            backend: Backend::Cpu,
            name: "scripted".into(),
            architecture: "none".into(),
            memory_total: None,
        };
        Arc::new(Scripted {
            info: Arc::new(info),
            load: DeviceLoad {
                queued_tasks,
                queued_bytes,
                ..Default::default()
            },
            answer,
            accepted: Mutex::new(Vec::new()),
        })
    }

    fn task() -> Task {
        let job = Job::from_config("compute_operation", &serde_json::Value::Null, None).unwrap();
        Task::new(Arc::new(job), vec![], Priority::Normal, |_| ())
    }

    fn submit_to(devices: &[&Arc<Scripted>]) -> Result<(), SubmitError> {
        let table: Vec<Arc<dyn Device>> = devices
            .iter()
            .map(|device| Arc::clone(device) as Arc<dyn Device>)
            .collect();
        submit(&table, task())
    }

    fn accepted(device: &Scripted) -> usize {
        device.accepted.lock().unwrap().len()
    }

    #[test]
    fn the_fewest_bytes_then_the_fewest_tasks_win() {
        let (a, b, c) = (
            device(10, 0, Answer::Accept),
            device(5, 3, Answer::Accept),
            device(5, 2, Answer::Accept),
        );
        submit_to(&[&a, &b, &c]).unwrap();
        assert_eq!([accepted(&a), accepted(&b), accepted(&c)], [0, 0, 1]);
    }

    #[test]
    fn a_refusal_goes_on_to_the_next_device() {
        let (a, b, c) = (
            device(10, 1, Answer::Accept),
            device(0, 0, Answer::Closed),
            device(5, 1, Answer::Full),
        );
        submit_to(&[&a, &b, &c]).unwrap();
        assert_eq!(accepted(&a), 1);
    }

    #[test]
    fn full_is_reported_when_waiting_can_help() {
        let (full, closed) = (device(9, 9, Answer::Full), device(0, 0, Answer::Closed));
        assert!(matches!(
            submit_to(&[&full, &closed]),
            Err(SubmitError::QueueFull(_))
        ));
        assert!(matches!(
            submit_to(&[&closed, &closed]),
            Err(SubmitError::Lost(_))
        ));
        assert!(matches!(submit_to(&[]), Err(SubmitError::Lost(_))));
    }
}
