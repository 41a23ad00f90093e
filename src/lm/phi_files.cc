// Phi's published folder: config.json in two forms, generation_config.json, weights.
#include "src/lm/json_file.h"
#include "src/lm/phi.h"

namespace whyrec::lm {
namespace {

using nlohmann::json;

[[noreturn]] void Refuse(const JsonFile& file, const std::string& key, const json& value,
                         const std::string& supported) {
  Fail(Exit::kData, file.path().string(), ": \"", key, "\" is ", value.dump(),
       "; supported: ", supported);
}

// A part of the file, with its errors.
template <typename T>
T Field(const JsonFile& file, const std::string& part, const json& object, const char* key) {
  if (!object.contains(key) || object[key].is_null())
    Fail(Exit::kData, file.path().string(), ": \"", part, "\" lacks \"", key, "\"");
  try {
    return object[key].get<T>();
  } catch (const json::exception& e) {
    Fail(Exit::kData, file.path().string(), ": \"", part, ".", key, "\": ", e.what());
  }
}

std::vector<int64_t> Ids(const JsonFile& file, const char* key, std::vector<int64_t> fallback) {
  if (!file.Has(key)) return fallback;
  if (file.json()[key].is_number()) return {file.Get<int64_t>(key)};
  return file.Get<std::vector<int64_t>>(key);
}

// `rope`: rope_scaling or rope_parameters.
void ReadRope(const JsonFile& file, const std::string& part, const json& rope, PhiConfig& config) {
  if (!rope.is_object()) Refuse(file, part, rope, "an object");
  const char* type_key = rope.contains("rope_type") ? "rope_type" : "type";
  const auto type = Field<std::string>(file, part, rope, type_key);
  if (rope.contains("rope_theta"))
    config.rope_theta = Field<double>(file, part, rope, "rope_theta");
  if (rope.contains("partial_rotary_factor"))
    config.partial_rotary = Field<double>(file, part, rope, "partial_rotary_factor");
  if (rope.contains("original_max_position_embeddings"))
    config.original_positions =
        Field<int64_t>(file, part, rope, "original_max_position_embeddings");
  if (type == "default") return;
  if (type != "longrope") Refuse(file, Cat(part, ".", type_key), type, "\"longrope\", \"default\"");
  const double extended =
      static_cast<double>(config.positions) / static_cast<double>(config.original_positions);
  if (rope.contains("factor") && Field<double>(file, part, rope, "factor") != extended)
    Refuse(file, part + ".factor", rope["factor"],
           "max_position_embeddings / original_max_position_embeddings");
  for (const char* key : {"attention_factor", "short_mscale", "long_mscale"})
    if (rope.contains(key) && !rope[key].is_null())
      Refuse(file, Cat(part, ".", key), rope[key], "none: it follows from the context lengths");
  config.short_factor = Field<std::vector<double>>(file, part, rope, "short_factor");
  config.long_factor = Field<std::vector<double>>(file, part, rope, "long_factor");
  for (const auto* factors : {&config.short_factor, &config.long_factor})
    if (static_cast<int64_t>(factors->size()) != config.rotary() / 2)
      Fail(Exit::kData, file.path().string(), ": \"", part, "\" has ", factors->size(),
           " factors; ", config.rotary() / 2, " fit the head size and partial_rotary_factor");
}

void CheckNetwork(const JsonFile& file, const PhiConfig& config) {
  if (file.Get<std::string>("model_type") != "phi3")
    Refuse(file, "model_type", file.json()["model_type"], "\"phi3\"");
  file.Expect("hidden_act", std::string("silu"));
  for (const char* key : {"attention_bias", "mlp_bias", "lm_head_bias"}) file.Expect(key, false);
  for (const char* key : {"attention_dropout", "embd_pdrop", "resid_pdrop"}) file.Expect(key, 0.0);
  if (file.Has("quantization_config"))
    Refuse(file, "quantization_config", file.json()["quantization_config"],
           "fp32, fp16 and bf16 weights");
  const auto positive = [&](const char* key, int64_t value) {
    if (value <= 0) Refuse(file, key, value, "a positive number");
  };
  positive("vocab_size", config.vocabulary);
  positive("hidden_size", config.width);
  positive("intermediate_size", config.inner);
  positive("num_hidden_layers", config.layers);
  positive("num_attention_heads", config.heads);
  positive("num_key_value_heads", config.key_heads);
  if (config.width % config.heads != 0)
    Refuse(file, "num_attention_heads", config.heads, "a divisor of hidden_size");
  if (config.heads % config.key_heads != 0)
    Refuse(file, "num_key_value_heads", config.key_heads, "a divisor of num_attention_heads");
  if (const auto size = file.Get<int64_t>("head_dim", config.head_size());
      size != config.head_size())
    Refuse(file, "head_dim", size, "hidden_size / num_attention_heads");
  if (const auto window = file.Get<int64_t>("sliding_window", config.positions);
      window < config.positions)
    Refuse(file, "sliding_window", window, "none, or one that covers max_position_embeddings");
}

}  // namespace

PhiConfig LoadPhiConfig(const std::filesystem::path& folder) {
  const JsonFile file(folder / "config.json");
  PhiConfig config;
  config.vocabulary = file.Get<int64_t>("vocab_size");
  config.width = file.Get<int64_t>("hidden_size");
  config.inner = file.Get<int64_t>("intermediate_size");
  config.layers = file.Get<int64_t>("num_hidden_layers");
  config.heads = file.Get<int64_t>("num_attention_heads");
  config.key_heads = file.Get<int64_t>("num_key_value_heads", config.heads);
  config.positions = file.Get<int64_t>("max_position_embeddings");
  config.original_positions =
      file.Get<int64_t>("original_max_position_embeddings", config.original_positions);
  config.epsilon = file.Get<double>("rms_norm_eps", 1e-5);
  config.rope_theta = file.Get<double>("rope_theta", 10000);
  config.partial_rotary = file.Get<double>("partial_rotary_factor", 1);
  config.tied_head = file.Get<bool>("tie_word_embeddings", false);  // Phi3's own default
  CheckNetwork(file, config);
  for (const char* part : {"rope_scaling", "rope_parameters"})
    if (file.Has(part)) ReadRope(file, part, file.json()[part], config);
  config.eos = Ids(file, "eos_token_id", {});
  config.bos = file.Get<int64_t>("bos_token_id", config.eos.empty() ? 0 : config.eos[0]);
  config.pad = file.Get<int64_t>("pad_token_id", config.eos.empty() ? 0 : config.eos[0]);
  if (std::filesystem::exists(folder / "generation_config.json"))
    config.eos = Ids(JsonFile(folder / "generation_config.json"), "eos_token_id", config.eos);
  return config;
}

void SavePhiConfig(const std::filesystem::path& folder, const PhiConfig& config,
                   at::ScalarType dtype) {
  json eos = config.eos;
  if (config.eos.size() == 1) eos = config.eos[0];
  json out = {{"architectures", {"Phi3ForCausalLM"}},
              {"model_type", "phi3"},
              {"vocab_size", config.vocabulary},
              {"hidden_size", config.width},
              {"intermediate_size", config.inner},
              {"num_hidden_layers", config.layers},
              {"num_attention_heads", config.heads},
              {"num_key_value_heads", config.key_heads},
              {"max_position_embeddings", config.positions},
              {"original_max_position_embeddings", config.original_positions},
              {"rms_norm_eps", config.epsilon},
              {"rope_theta", config.rope_theta},
              {"partial_rotary_factor", config.partial_rotary},
              {"rope_scaling", nullptr},
              {"hidden_act", "silu"},
              {"attention_bias", false},
              {"attention_dropout", 0.0},
              {"embd_pdrop", 0.0},
              {"resid_pdrop", 0.0},
              {"sliding_window", nullptr},
              {"tie_word_embeddings", config.tied_head},
              {"bos_token_id", config.bos},
              {"eos_token_id", eos},
              {"pad_token_id", config.pad},
              {"torch_dtype", TorchTypeName(dtype)},
              {"use_cache", true}};
  if (!config.short_factor.empty())
    out["rope_scaling"] = {{"type", "longrope"},
                           {"short_factor", config.short_factor},
                           {"long_factor", config.long_factor}};
  std::filesystem::create_directories(folder);
  WriteJson(folder / "config.json", out);
  WriteJson(folder / "generation_config.json",
            {{"bos_token_id", config.bos}, {"eos_token_id", eos}, {"pad_token_id", config.pad}});
}

void Phi::Load(const std::filesystem::path& folder) {
  Dialect dialect;
  if (config_.tied_head) dialect.ignored = {"lm_head.weight"};  // a second copy of the embeddings
  LoadWeights(folder, table_, dialect);
}

void Phi::Save(const std::filesystem::path& folder) const {
  SaveWeights(folder, table_);
  SavePhiConfig(folder, config_, embed_.scalar_type());
}

}  // namespace whyrec::lm
