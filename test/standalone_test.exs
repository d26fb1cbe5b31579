defmodule AMDGPUFramework.StandaloneTest do
  use ExUnit.Case, async: true

  import AMDGPUFramework.Eventually

  alias AMDGPUFramework.{Standalone, TestBroker}
  alias AMDGPUFramework.Standalone.{ClassPath, Configuration, Error, Options}

  @moduletag :e2e
  @moduletag timeout: 300_000

  setup_all do
    # A download, where one is needed, must not count against a test's time.
    {:ok, class_path} = ClassPath.resolve()
    [class_path: class_path]
  end

  describe "a running broker" do
    test "takes the settings given and says where it is found" do
      info = Standalone.info(TestBroker.start!(set: [brokerDeduplicationEnabled: true]))

      {200, settings} = TestBroker.request(info, :get, "/admin/v2/brokers/configuration/runtime")
      assert settings =~ ~s("brokerDeduplicationEnabled":"true")
      assert info.service_url == "pulsar://127.0.0.1:#{info.port}"
      assert alive?(info.os_pid)
      assert File.exists?(info.log)
    end

    test "keeps every confirmed message over kill -9, again and again, on the same ports" do
      broker = TestBroker.start!()
      before = Standalone.info(broker)

      create(before, "survivors")

      for round <- 1..3 do
        publish(before, "survivors", "message #{round}")
        killed = Standalone.info(broker)
        assert :ok = Standalone.kill(broker)
        refute alive?(killed.os_pid)
        assert Standalone.info(broker).os_pid == nil

        assert :ok = Standalone.restart(broker)
        restarted = Standalone.info(broker)
        assert restarted.os_pid != killed.os_pid
        assert Map.delete(restarted, :os_pid) == Map.delete(before, :os_pid)

        for position <- 1..round do
          assert stored(restarted, "survivors", position) == "message #{position}"
        end
      end
    end

    test "finds its data again after an orderly stop" do
      data_dir = TestBroker.data_dir()
      info = Standalone.info(TestBroker.start!(data_dir: data_dir))
      create(info, "kept")
      publish(info, "kept", "a message")
      stop_supervised_brokers()
      refute alive?(info.os_pid)

      again = Standalone.info(TestBroker.start!(data_dir: data_dir))
      assert stored(again, "kept", 1) == "a message"
    end

    test "ends its keeper, with the end of the log, when it ends by itself" do
      broker = TestBroker.start!()
      info = Standalone.info(broker)
      monitor = Process.monitor(broker)
      {_, 0} = System.cmd("kill", ["-KILL", "#{info.os_pid}"])

      assert_receive {:DOWN, ^monitor, :process, _, {:shutdown, %Error{message: message}}}, 10_000
      assert message =~ "status 137"
      assert message =~ info.log
    end

    test "refuses to start on ports that are taken" do
      info = Standalone.info(TestBroker.start!())
      options = [port: info.port, http_port: 0, bookie_port: 0, data_dir: TestBroker.data_dir()]

      assert {:error, %Error{message: message}} = Standalone.start(options)
      assert message =~ "port #{info.port} is in use"
    end
  end

  test "a start that fails says how the log ends" do
    data_dir = TestBroker.data_dir()
    on_exit(fn -> File.rm_rf!(data_dir) end)
    settings = [managedLedgerDefaultWriteQuorum: "many"]
    options = [port: 0, http_port: 0, bookie_port: 0, data_dir: data_dir, set: settings]

    assert {:error, %Error{message: message}} = Standalone.start(options)
    assert message =~ "ended with status 1"
    assert message =~ "managedLedgerDefaultWriteQuorum"
  end

  test "mix pulsar.standalone takes the broker with it when it is killed with -9" do
    data_dir = TestBroker.data_dir()
    on_exit(fn -> File.rm_rf!(data_dir) end)

    arguments =
      ~w(pulsar.standalone --port 0 --http-port 0 --bookie-port 0 --set brokerDeduplicationEnabled=true) ++
        ["--data-dir", data_dir]

    mix =
      Port.open({:spawn_executable, System.find_executable("mix")}, [
        :binary,
        :exit_status,
        line: 1000,
        args: arguments,
        env: [{'MIX_ENV', 'test'}]
      ])

    {:os_pid, mix_pid} = Port.info(mix, :os_pid)
    assert_receive {^mix, {:data, {:eol, "  process  " <> broker_pid}}}, 60_000
    assert alive?(broker_pid)
    assert File.read!(Path.join(data_dir, "standalone.conf")) =~ "brokerDeduplicationEnabled=true"

    {_, 0} = System.cmd("kill", ["-KILL", "#{mix_pid}"])
    assert_receive {^mix, {:exit_status, 137}}, 10_000
    assert eventually(fn -> not alive?(broker_pid) end)
  end

  describe "options" do
    test "are refused with key, value and what is allowed" do
      assert refusal(port: 70_000) =~ "port: 70000; allowed is a port number"
      assert refusal(data_dir: 1) =~ "data_dir: 1; allowed is the path of a directory"
      assert refusal(set: %{"a" => "b\nc"}) =~ "keys and values of one line"
      assert refusal(set: [brokerServicePort: 1]) =~ "the option port sets it"
      assert refusal(prt: 1) =~ "prt: 1; allowed is one of the options"
    end

    test "choose different free ports" do
      assert {:ok, options} = Options.validate(port: 0, http_port: 0, bookie_port: 0)
      ports = [options.port, options.http_port, options.bookie_port]
      assert ports == Enum.uniq(ports)
      assert :ok = Options.require_free_ports(options)
    end

    test "lay the caller's settings over those of the file" do
      {:ok, options} = Options.validate(port: 1234, set: %{"a" => 2, "c" => "x=y"})
      lines = "# a comment\na=1\nb = 1\n" |> Configuration.render(options) |> String.split("\n")
      assert "a=2" in lines
      assert "b=1" in lines
      assert "c=x=y" in lines
      assert "brokerServicePort=1234" in lines
      refute "a=1" in lines
    end

    test "of the mix task are refused as well" do
      for arguments <- [["--prt", "1"], ["--port", "x"], ["--set", "novalue"], ["stray"]] do
        assert_raise Mix.Error, fn -> Mix.Tasks.Pulsar.Standalone.run(arguments) end
      end
    end
  end

  test "a jar cut short is recognised", %{class_path: class_path} do
    jar = class_path |> String.split(":") |> Enum.min_by(&File.stat!(&1).size)
    cut = TestBroker.data_dir()
    on_exit(fn -> File.rm(cut) end)
    content = File.read!(jar)

    File.write!(cut, content)
    assert ClassPath.sound_jar?(cut)
    File.write!(cut, binary_part(content, 0, byte_size(content) - 30))
    refute ClassPath.sound_jar?(cut)
    File.write!(cut, "")
    refute ClassPath.sound_jar?(cut)
    refute ClassPath.sound_jar?(cut <> ".missing")
  end

  defp refusal(options) do
    assert {:error, %Error{message: message}} = Standalone.start(options)
    message
  end

  # Over the broker's HTTP interface: these tests say nothing about this library's own client.
  defp create(info, topic) do
    path = "/admin/v2/persistent/public/default/#{topic}"
    assert {204, _} = TestBroker.request(info, :put, path, "")
  end

  defp publish(info, topic, text) do
    schema = ~S({\"name\":\"\",\"schema\":\"\",\"type\":\"STRING\",\"properties\":{}})

    body =
      ~s({"producerName": "test", "valueSchema": "#{schema}", "messages": [{"payload": "#{text}"}]})

    assert {200, answer} =
             TestBroker.request(info, :post, "/topics/persistent/public/default/#{topic}", body)

    assert answer =~ ~s("messageId":"), answer
  end

  defp stored(info, topic, position) do
    path =
      "/admin/v2/persistent/public/default/#{topic}/examinemessage" <>
        "?initialPosition=earliest&messagePosition=#{position}"

    assert {200, body} = TestBroker.request(info, :get, path)
    body
  end

  defp stop_supervised_brokers do
    {:ok, supervisor} = ExUnit.fetch_test_supervisor()

    for {id, _pid, _type, _modules} <- Supervisor.which_children(supervisor) do
      :ok = stop_supervised(id)
    end
  end

  defp alive?(os_pid) do
    match?({_, 0}, System.cmd("kill", ["-0", "#{os_pid}"], stderr_to_stdout: true))
  end
end
