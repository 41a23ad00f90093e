// graphs: training interactions and nearest user profiles -> graph.h5.
#include <algorithm>

#include "src/base/error.h"
#include "src/data/split.h"
#include "src/graph/graphs.h"
#include "src/nn/top_k.h"
#include "src/stages/system_run.h"
#include "src/store/hdf5_file.h"
#include "src/store/safetensors.h"

namespace whyrec::stages {

Stage GraphsStage(const config::RunConfig& config) {
  const bool embeddings = NeedsOfSystems(config).contains("embeddings");
  Stage stage{
      .name = "graphs", .revision = 2, .config_parts = {"graphs.neighbours"}, .inputs = {"split"}};
  if (embeddings) stage.inputs.push_back("embeddings");
  stage.run = [embeddings](const RunContext& context,
                           const std::filesystem::path& partial) -> Facts {
    const auto train = data::LoadTrainView(context.workspace.Of("split"));
    const Csr interactions = graph::InteractionGraph(train.histories, train.item_count());
    store::Hdf5Writer file(partial / "graph.h5");
    graph::Save(interactions, file, "interactions");
    Facts facts = {{"interaction edges", Cat(interactions.indices.size() / 2)}};
    if (embeddings) {
      const auto vectors =
          store::ReadSafetensors(context.workspace.Of("embeddings") / "embeddings.safetensors");
      const int64_t k =
          std::min<int64_t>(context.config.graphs().neighbours(), train.user_count() - 1);
      const HostTensor neighbours = nn::TopKCosine(vectors.at("users"), k);
      file.Write("neighbours", neighbours);
      graph::Save(graph::UserGraph(neighbours), file, "users");
      facts.emplace_back("neighbours of a user (K)", Cat(k));
    }
    file.Close();
    return facts;
  };
  return stage;
}

}  // namespace whyrec::stages
