defmodule AMDGPUFramework.Messaging.MessageIdTest do
  use ExUnit.Case, async: true

  alias AMDGPUFramework.Messaging.{Message, MessageId}

  defp id(ledger, entry, partition \\ -1, batch_index \\ -1),
    do: %MessageId{
      entry: {ledger, entry, partition, 0, "persistent://public/default/t"},
      batch_index: batch_index
    }

  test "its parts" do
    id = %MessageId{entry: {1, 2, 3, 10, "t"}, batch_index: 4}

    assert {1, 2, 3, 4} =
             {MessageId.ledger_id(id), MessageId.entry_id(id), MessageId.partition(id),
              MessageId.batch_index(id)}

    assert {10, "t"} = {MessageId.batch_size(id), MessageId.topic(id)}
    assert "#{id}" == "1:2:3:4"
    assert inspect(id) == "#MessageId<1:2:3:4>"
  end

  test "order: ledger, entry, partition, batch index" do
    sorted = [
      id(1, 9, 9, 9),
      id(2, 1, 5, 5),
      id(2, 2, 0, 3),
      id(2, 2, 1, -1),
      id(2, 2, 1, 0),
      id(10, 0)
    ]

    assert Enum.sort(Enum.shuffle(sorted), MessageId) == sorted
    assert MessageId.compare(id(1, 1), id(1, 1)) == :eq
    assert MessageId.compare(id(1, 2), id(1, 1)) == :gt
  end

  test "inspecting something that is half a message id does not fail" do
    assert inspect(%MessageId{entry: nil}) =~ "MessageId"
  end

  @tag :nif
  test "bytes and back" do
    id = %MessageId{entry: {12, 3, 2, 10, "persistent://public/default/t"}, batch_index: 4}
    assert {:ok, ^id} = id |> MessageId.to_binary() |> MessageId.from_binary(MessageId.topic(id))
    assert {:error, :invalid_message_id} = MessageId.from_binary("not an id")
  end

  test "a copied message shares nothing with the buffer it was cut from" do
    buffer = :binary.copy("0123456789", 100)
    payload = binary_part(buffer, 10, 100)

    copy =
      Message.copy(%Message{
        payload: payload,
        key: binary_part(buffer, 0, 90),
        properties: %{"a" => "b"}
      })

    assert copy.payload == payload
    assert :binary.referenced_byte_size(copy.payload) == 100
    assert :binary.referenced_byte_size(copy.key) == 90
    assert Message.copy(%Message{payload: nil}).payload == nil
  end
end
