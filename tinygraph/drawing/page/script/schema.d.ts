// What a page carries. Made by `python -m tinygraph.drawing.page.typescript` of `schema.py`; not to be edited.

/** A tensor. */
export interface PageTensor {
  /** what it is called. */
  name: string;
  /** its sizes. */
  shape: number[];
  /** the name of its dtype. */
  dtype: string;
  /** where its elements begin in the block of numbers; -1 where they are not in the page. */
  at: number;
  /** how many of its numbers are not finite; absent where it holds no real numbers. */
  broken?: number;
  /** least, greatest, mean and deviation of the others; null for one that is too large. */
  statistics?: [number | null, number | null, number | null, number | null];
  /** how many of them lie in each of as many equal ranges. */
  counts?: number[];
  /** the tensors that it is in the iterations of the loop that it is in. */
  rounds?: number[];
}

/** An element of an operand, by affine places. */
export interface PageRead {
  /** the operand's position. */
  operand: number;
  /** its shape, or another shape of the same elements in the same order. */
  shape: number[];
  /** for each axis of it a row: a coefficient for each entry of the output's index and of the reduced one, and a constant at the end. */
  places: number[][];
}

/** How one element of an op's output comes about: see `Expansion`. */
export interface PageExpansion {
  /** what the output's index o runs over. */
  shape: number[];
  /** what the reduced index r runs over. */
  over: number[];
  /** the elements that are read. */
  reads: PageRead[];
  /** how they make one term. */
  join: "only" | "op" | "product";
  /** how terms are taken together. */
  reduce: "max" | "mean" | "min" | "none" | "product" | "sum";
  /** a function of each term. */
  each: "exp" | "identity" | "log" | "square";
  /** a function of the whole. */
  after: "exp" | "identity" | "log" | "square";
  /** how many leading axes of r are summed last. */
  partial: number;
  /** how many trailing axes of o make the picture of one channel. */
  planes: number;
  /** what places outside an operand count as; absent if they do not count. */
  padding?: number;
  /** what is added to the terms. */
  bias?: PageRead;
  /** the read whose term is divided by all terms. */
  share?: PageRead;
  /** where it is given, the mean is taken from that term instead, and the rest divided by the root of the variance plus this number. */
  spread?: number;
}

/** An op. */
export interface PageOp {
  /** what it computes. */
  formula: string;
  /** what it is coloured as. */
  kind: string;
  /** their names; the last one stands for all that follow. */
  operands: string[];
  /** name of an operand -> its derivative rule in words. */
  rules: {[key: string]: string};
  /** operands that no gradient flows to. */
  fixed: string[];
  /** what its conformance card says, in pairs of name and words. */
  card?: [string, string][];
}

/** A curve between two boxes of an interior.
 * tail: the number of the kid that it leaves; -1 for the border.
 * head: the number of the kid that it reaches; -1 for the border.
 * role: what flows there.
 * path: the curve. */
export type PageLink = [tail: number, head: number, role: "carry" | "data" | "gradient" | "saved", path: string];

/** How the kids of a box are laid out; boxes that are alike share one. */
export interface PageInterior {
  /** of the whole. */
  width: number;
  /** of the whole. */
  height: number;
  /** left, top, width and height of each kid. */
  places: [number, number, number, number][];
  /** the curves between them. */
  links: PageLink[];
}

/** A box: a group with kids, an op, a leaf or an output. */
export interface PageBox {
  /** what is written in it. */
  title: string;
  /** what it is coloured as. */
  kind: string;
  /** what is written below the title. */
  note?: string;
  /** the pass: 0 forward, 1 backward, 2 the backward pass of that. */
  lane?: number;
  /** the number of the node that it stands for, in the graph's order. */
  node?: number;
  /** the numbers of the nodes that it stands for without a box for each. */
  inside?: number[];
  /** the number of the node that makes what it shows, where that is not its own. */
  ready?: number;
  /** what kind of leaf it is. */
  leaf?: string;
  /** a leaf's name, in full. */
  name?: string;
  /** an op's name, under which `ops` describes it. */
  op?: string;
  /** the tensors that it reads. */
  operands?: number[];
  /** the tensors that it makes or shows. */
  values?: number[];
  /** the tensor that is the output's gradient with respect to the first of them. */
  gradient?: number;
  /** pairs of name and words. */
  settings?: [string, string][];
  /** bytes that it keeps for a backward pass. */
  kept?: number;
  /** where in the program it was made. */
  source?: string;
  /** that line. */
  line?: string;
  /** the number of its expansion. */
  expansion?: number;
  /** the number of its interior. */
  interior?: number;
  /** the boxes in it. */
  kids?: PageBox[];
}

/** How an amount is written: see `Unit`. */
export interface PageUnit {
  /** (amount, symbol), the largest first; what is smaller than all is written on the last one. */
  scales: [number, string][];
  /** significant ones; null for whole numbers. */
  digits: number | null;
}

/** An overlay: see `Overlay`. */
export interface PageOverlay {
  /** what links call it. */
  name: string;
  /** what the switch calls it. */
  title: string;
  /** of each node in the graph's order; null where there is nothing to say. Words are numbers that JSON has no place for. */
  amounts: (number | "Infinity" | "NaN" | null)[];
  /** the name of the unit. */
  unit: string;
  /** what a box says, with {} for the amount. */
  words: string;
  /** what 0 is called. */
  nothing: string;
  /** how the amounts of a group are taken together. */
  total: "largest" | "norm" | "sum";
  /** what an op must have, where somebody steps, before there is something to say of it. */
  needs: ("changes" | "gradients" | "times" | "values")[];
  /** the variable of the style sheet with the colour of the largest amount. */
  tint: string;
  /** number of a node that stands out -> what is said of it. */
  marks: {[key: string]: string};
}

/** All that a page carries besides its numbers. */
export interface PageData {
  /** the whole model. */
  root: PageBox;
  /** how boxes are laid out. */
  interiors: PageInterior[];
  /** name -> description. */
  ops: {[key: string]: PageOp};
  /** how elements come about. */
  expansions: PageExpansion[];
  /** the tensors. */
  values: PageTensor[];
  /** what can tint boxes. */
  overlays: PageOverlay[];
  /** name -> how amounts are written. */
  units: {[key: string]: PageUnit};
  /** the name of the one that is on at the start. */
  overlay?: string;
  /** where to begin: the way to a box, in numbers of kids. */
  start?: number[];
  /** an index into what that makes. */
  element?: any[];
  /** the iterations of loops that the page has numbers of. */
  iterations?: number[];
}
