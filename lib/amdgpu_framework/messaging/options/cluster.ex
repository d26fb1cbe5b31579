defmodule AMDGPUFramework.Messaging.Options.Cluster do
  @moduledoc false
  # The options of a manager: where its cluster is and how it is spoken to.

  alias AMDGPUFramework.Messaging.Options

  @broker_url ~r"^pulsar(\+ssl)?://[^/\s,]+(,[^/\s,]+)*/?$"
  @admin_url ~r"^https?://[^/\s]+"
  @name_part ~r"^[^/\s]+$"
  @milliseconds {:integer, 1, 86_400_000}

  @spec schema() :: Options.schema()
  def schema do
    [
      name: [
        type:
          {:nullable, {:custom, &__MODULE__.cast_name/1, "a name that a process can be given"}},
        default: AMDGPUFramework.Messaging.PulsarManager,
        doc:
          "How other functions find this manager (`manager:`). A second cluster needs a second name; nil: no name, use the pid."
      ],
      broker_service_url: [
        type:
          {:custom, &__MODULE__.cast_broker_url/1, "pulsar://host:port or pulsar+ssl://host:port"},
        default: "pulsar://localhost:6650",
        doc: "The brokers or their proxy; several hosts are separated by commas."
      ],
      admin_service_url: [
        type: {:custom, &__MODULE__.cast_admin_url/1, "http://host:port or https://host:port"},
        default: "http://localhost:8080",
        doc: "The admin API of the same cluster."
      ],
      authentication: [
        type:
          {:custom, &__MODULE__.cast_authentication/1,
           ~s(nil, {:token, "…"} or %{method: "token", token: "…"})},
        default: nil,
        secret: true,
        doc: "Who this client is. It appears in no log and no error."
      ],
      tenant: name_part("public", "The tenant of topics that are named without one."),
      namespace: name_part("default", "The namespace of topics that are named without one."),
      gpu_processing: [
        type: {:map, Options.GpuProcessing.schema()},
        default: Options.GpuProcessing.defaults(),
        default_doc: "as its keys say",
        doc: "The devices for `start_gpu_processing/2`."
      ],
      pubsub: [
        type: {:custom, &__MODULE__.cast_pubsub/1, "the name of a Phoenix.PubSub, an atom"},
        default: AMDGPUFramework.PubSub,
        doc:
          "Where events and processed messages are published: this Phoenix.PubSub if it is loaded and running, else OTP's process groups."
      ],
      connection_timeout: [
        type: @milliseconds,
        default: 30_000,
        doc: "How long, in ms, connecting to a broker may take before the next attempt."
      ],
      operation_timeout: [
        type: @milliseconds,
        default: 30_000,
        doc:
          "How long, in ms, the broker may take for an answer (not for a message: that is `:send_timeout`)."
      ],
      keep_alive: [
        type: @milliseconds,
        default: 30_000,
        doc:
          "A connection that is silent for so many ms is probed, and given up if it stays silent."
      ],
      shutdown_timeout: [
        type: @milliseconds,
        default: 15_000,
        doc: "How long, in ms, an orderly stop may drain producers and flush acknowledgements."
      ],
      listener_name: [
        type: {:nullable, :string},
        default: nil,
        doc: "Which of the broker's advertised listeners to connect to."
      ],
      tls: [
        type: {:map, tls_schema()},
        default: %{ca_file: nil, hostname_verification: true},
        default_doc: "as its keys say",
        doc: "For `pulsar+ssl`."
      ],
      namespaces: not_yet([], "Namespaces to create at start."),
      topics: not_yet([], "Topics to create at start."),
      replication: not_yet(%{}, "Replication between clusters."),
      blockchain_logging: not_yet(false, "An audit record of each message.")
    ]
  end

  @doc false
  def cast_name(pid) when is_pid(pid), do: :error
  def cast_name(name), do: Options.Manager.cast(name)

  @doc false
  def cast_broker_url(url), do: matching(url, @broker_url)

  @doc false
  def cast_admin_url(url), do: matching(url, @admin_url)

  @doc false
  def cast_name_part(name), do: matching(name, @name_part)

  @doc false
  def cast_pubsub(name) when is_atom(name) and name not in [nil, true, false], do: {:ok, name}
  def cast_pubsub(_name), do: :error

  @doc false
  def cast_authentication(nil), do: {:ok, nil}

  def cast_authentication({:token, token}) when is_binary(token) and token != "",
    do: {:ok, {:token, token}}

  def cast_authentication(given) when is_map(given) or is_list(given) do
    # An error of the nested schema would show the token.
    case Options.validate(authentication_schema(), given) do
      {:ok, %{token: token}} -> {:ok, {:token, token}}
      {:error, _} -> :error
    end
  end

  def cast_authentication(_given), do: :error

  @doc false
  # Refused rather than ignored: who configures it would believe that it happens.
  def cast_nothing(value) when value in [nil, false, [], %{}], do: {:ok, value}
  def cast_nothing(_value), do: :error

  defp authentication_schema do
    [
      method: [type: {:one_of, [:token]}, default: :token, doc: "How."],
      token: [type: :string, doc: "The token."]
    ]
  end

  defp tls_schema do
    [
      ca_file: [
        type: {:nullable, :string},
        default: nil,
        doc: "a PEM file of the authorities to trust; nil means the public ones"
      ],
      hostname_verification: [
        type: :boolean,
        default: true,
        doc: "`false` accepts any broker with a trusted certificate"
      ]
    ]
  end

  defp name_part(default, doc) do
    [
      type: {:custom, &__MODULE__.cast_name_part/1, "a name without spaces and slashes"},
      default: default,
      doc: doc
    ]
  end

  defp not_yet(default, doc) do
    [
      type: {:custom, &__MODULE__.cast_nothing/1, "nothing: this version does not apply it"},
      default: default,
      doc: doc
    ]
  end

  defp matching(value, pattern) do
    if is_binary(value) and String.valid?(value) and value =~ pattern,
      do: {:ok, value},
      else: :error
  end
end
