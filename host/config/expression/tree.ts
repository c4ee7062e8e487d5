export type Literal = null | boolean | bigint | number | string;
export type ArithmeticOperator = "+" | "-" | "*" | "/" | "%";
export type ComparisonOperator = "==" | "!=" | "<" | "<=" | ">" | ">=";

/** An expression as it was written. `at` is where its operator or first character stands, 0-based. */
export type Tree =
  | { readonly type: "literal"; readonly value: Literal; readonly at: number }
  | { readonly type: "name"; readonly name: string; readonly at: number }
  | { readonly type: "negate"; readonly operand: Tree; readonly at: number }
  | { readonly type: "not"; readonly operand: Tree; readonly at: number }
  | {
      readonly type: "arithmetic";
      readonly operator: ArithmeticOperator;
      readonly left: Tree;
      readonly right: Tree;
      readonly at: number;
    }
  | {
      readonly type: "comparison";
      readonly operator: ComparisonOperator;
      readonly left: Tree;
      readonly right: Tree;
      readonly at: number;
    }
  | {
      readonly type: "logic";
      readonly operator: "and" | "or";
      readonly left: Tree;
      readonly right: Tree;
      readonly at: number;
    }
  | { readonly type: "like"; readonly operand: Tree; readonly pattern: Tree; readonly at: number }
  | { readonly type: "in"; readonly operand: Tree; readonly items: readonly Tree[]; readonly at: number }
  | {
      readonly type: "between";
      readonly operand: Tree;
      readonly low: Tree;
      readonly high: Tree;
      readonly at: number;
    }
  | { readonly type: "is-null"; readonly operand: Tree; readonly at: number }
  | {
      readonly type: "call";
      readonly name: string;
      readonly arguments: readonly Tree[];
      readonly at: number;
    };
