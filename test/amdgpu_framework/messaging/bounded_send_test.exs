defmodule AMDGPUFramework.Messaging.BoundedSendTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.BoundedSend

  test "messages arrive in order while there is room" do
    assert BoundedSend.send_all(self(), [1, 2, 3], 10) == 0
    assert {:messages, [1, 2, 3]} = Process.info(self(), :messages)
  end

  test "what the mailbox has no room for is dropped and counted" do
    before = BoundedSend.dropped()
    assert BoundedSend.send_all(self(), Enum.to_list(1..5), 3) == 2
    assert BoundedSend.send_all(self(), [6], 3) == 1
    assert {:messages, [1, 2, 3]} = Process.info(self(), :messages)
    assert BoundedSend.dropped() >= before + 3
  end

  test "a process that is gone takes nothing" do
    {pid, monitor} = spawn_monitor(fn -> :ok end)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :normal}
    assert BoundedSend.send_all(pid, [1]) == 0
  end
end
