{:ok, _} = AMDGPUFramework.TestBroker.start_link()
ExUnit.after_suite(fn _ -> AMDGPUFramework.TestBroker.stop() end)
ExUnit.start(capture_log: true, timeout: 120_000)
