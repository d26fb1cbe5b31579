defmodule AMDGPUFramework.Messaging.ClusterConfigTest do
  # Not async: one test changes the application's environment.
  use ExUnit.Case

  alias AMDGPUFramework.Messaging.{ClusterConfig, PulsarManager}

  test "the defaults are a broker on this machine" do
    assert {:ok, config} = ClusterConfig.new([])
    assert config.broker_service_url == "pulsar://localhost:6650"
    assert config.admin_service_url == "http://localhost:8080"
    assert config.name == PulsarManager
    assert config.gpu_processing.enabled
    assert config.shutdown_timeout == 15_000

    assert %{
             service_url: "pulsar://localhost:6650",
             auth: nil,
             connection_timeout_ms: 30_000,
             operation_timeout_ms: 30_000,
             keep_alive_ms: 30_000,
             listener_name: nil,
             tenant: "public",
             namespace: "default",
             tls: %{ca_file: nil, hostname_verification: true}
           } = ClusterConfig.client_options(config)
  end

  test "all keys of the documents are accepted" do
    assert {:ok, config} =
             ClusterConfig.new(%{
               broker_service_url: "pulsar+ssl://a:6651,b:6651",
               admin_service_url: "https://a:8443",
               authentication: %{method: "token", token: "abc"},
               namespaces: [],
               topics: [],
               gpu_processing: %{
                 enabled: false,
                 gpu_device_ids: [0, 1],
                 batch_size: 10,
                 processing_threads: 2,
                 memory_pool_size_mb: 64,
                 kernel_optimization: false
               },
               replication: %{}
             })

    assert config.authentication == {:token, "abc"}
    assert config.gpu_processing.gpu_device_ids == [0, 1]
  end

  test "what this version does not apply is refused, not ignored" do
    for {key, value} <- [
          namespaces: [%{name: "a"}],
          topics: ["t"],
          replication: %{clusters: ["b"]},
          blockchain_logging: true
        ] do
      assert {:error, {:invalid_option, ^key, ^value, allowed}} =
               ClusterConfig.new([{key, value}])

      assert allowed =~ "this version"
    end

    assert {:ok, _} = ClusterConfig.new(blockchain_logging: false, namespaces: nil)
  end

  test "addresses" do
    for bad <- ["localhost:6650", "pulsar://", "http://a", "pulsar://a b", "", nil, :a] do
      assert {:error, {:invalid_option, :broker_service_url, ^bad, _}} =
               ClusterConfig.new(broker_service_url: bad)
    end

    assert {:error, {:invalid_option, :admin_service_url, "a:8080", _}} =
             ClusterConfig.new(admin_service_url: "a:8080")
  end

  test "a token appears in no error and in no inspection" do
    assert {:error, reason} =
             ClusterConfig.new(authentication: %{method: "oauth", token: "s3cret"})

    refute inspect(reason) =~ "s3cret"
    assert {:ok, config} = ClusterConfig.new(authentication: {:token, "s3cret"})
    refute inspect(config) =~ "s3cret"
  end

  test "names" do
    for name <- [:a, {:global, :a}, {:via, Registry, {R, :a}}, nil],
        do: assert({:ok, %{name: ^name}} = ClusterConfig.new(name: name))

    for bad <- [self(), "a", true],
        do: assert({:error, {:invalid_option, :name, ^bad, _}} = ClusterConfig.new(name: bad))
  end

  test "the environment of the application holds where nothing else is given" do
    Application.put_env(:amdgpu_framework, :pulsar, tenant: "env", namespace: "env")
    on_exit(fn -> Application.delete_env(:amdgpu_framework, :pulsar) end)
    assert {:ok, %{tenant: "env", namespace: "mine"}} = ClusterConfig.new(namespace: "mine")
  end

  test "starting with a wrong configuration returns the error" do
    assert {:error, {:invalid_option, :keep_alive, 0, _}} =
             PulsarManager.start_link(keep_alive: 0)

    assert {:error, {:invalid_option, :broker_url, _, _}} =
             PulsarManager.start_link(%{broker_url: "x"})
  end

  test "the child specification gives the stop its time and the child its name" do
    assert %{id: PulsarManager, shutdown: 16_000} = PulsarManager.child_spec([])

    assert %{id: :other, shutdown: 3_000} =
             PulsarManager.child_spec(name: :other, shutdown_timeout: 2_000)

    assert %{start: {PulsarManager, :start_link, [[nonsense: 1]]}} =
             PulsarManager.child_spec(nonsense: 1)
  end
end
