// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Coin} from "../src/dev/Coin.sol";

/// A payment token that calls whoever it is told to, once, in the middle of a transfer.
contract HookCoin is Coin {
    address private _target;
    bytes private _call;
    bytes private _answer;

    constructor() Coin("Hook", "HOOK", msg.sender, 0) {}

    function arm(address target, bytes calldata call_) external {
        (_target, _call) = (target, call_);
    }

    /// What the call was refused with.
    function answer() external view returns (bytes memory) {
        return _answer;
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        address target = _target;
        if (target == address(0)) return;
        _target = address(0);
        (bool ok, bytes memory reason) = target.call(_call);
        require(!ok, "the call went through");
        _answer = reason;
    }
}
