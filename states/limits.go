package states

// Limits of what a tree can make a node do, whoever wrote it. Each refusal names its limit.
const (
	MaxFileBytes       = 1 << 30   // any file of a tree
	MaxFolderFiles     = 10_000    // files of one Folder parameter
	MaxFolderBytes     = 256 << 20 // and their sizes in all
	MaxDocumentBytes   = 1 << 20   // site.yaml, states files, defaults, roles, variables
	MaxTemplateBytes   = 1 << 20   // the source of one template
	MaxRenderedBytes   = 16 << 20  // what one template renders to
	MaxRenderedTotal   = 256 << 20 // all rendered contents of one plan
	MaxStates          = 100_000   // invocations of one node's plan
	MaxEdges           = 1_000_000 // edges of one node's plan
	MaxForEach         = 100_000   // instances of one for_each
	MaxDocumentNodes   = 1 << 20   // nodes of one document, each alias counted as often as it is used
	MaxDocumentTokens  = 400_000   // words and marks of one YAML document: few real ones have one in five bytes
	MaxMapKeys         = 16_384    // keys of one YAML map written over lines; of several maps, the squares count
	MaxDepth           = 64        // nesting of a document
	MaxExpressionBytes = 16 << 10  // one ${ … }
	MaxExpressionCost  = 1_000_000 // cel-go's cost units of one evaluation
	MaxTemplateSteps   = 1_000_000 // loop rounds of one rendering
	MaxProblems        = 200       // problems that are reported; the rest is counted
	MaxCombinations    = 256       // nodes that Validate makes up from the tags that the targets mention
)
