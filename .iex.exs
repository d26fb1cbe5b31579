alias AMDGPUFramework.Compute.GPU
alias AMDGPUFramework.Messaging.{Message, MessageId, PulsarManager}
alias AMDGPUFramework.Standalone
