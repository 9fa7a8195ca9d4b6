// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC6909} from "@openzeppelin/contracts/interfaces/IERC6909.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IMeter} from "../src/interfaces/IMeter.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// MARKETS P5: there is no agent, owner or guardian. Every function that can change anything is tried by a stranger, by
/// the deployer and by one attester and one appraiser alone, against somebody else's units, credits and group; the list
/// is held against the ABI, so that a function added later is missing here until somebody thinks about it.
contract StrangerTest is Base {
    struct Attack {
        address target;
        string name;
        bytes data;
    }

    Attack[] internal attacks;
    uint256 internal asset;
    uint256 internal id;
    bytes32 internal lease;

    function setUp() public override {
        super.setUp();
        (asset, lease) = leased(8 * GPU, 1_000, 3);
        id = access.creditId(asset, access.currentWindow(), 1);
        buy(id, developer, 1_000);
        vm.warp(START + 1_000);
        _plan(new Signature[](0));
    }

    function testNobodyElseChangesAnything() public {
        address[4] memory senders = [stranger, address(this), addressOf(attesterKeys[0]), addressOf(appraiserKeys[0])];
        bytes32 before = _state();
        for (uint256 i; i < attacks.length; ++i) {
            for (uint256 j; j < senders.length; ++j) {
                uint256 snapshot = vm.snapshotState();
                vm.prank(senders[j]);
                // Whether it reverts does not matter: a call that does nothing to others may well succeed.
                (bool done,) = attacks[i].target.call(attacks[i].data);
                assertEq(_state(), before, string.concat(attacks[i].name, done ? " succeeded" : " failed"));
                vm.revertToStateAndDelete(snapshot);
            }
        }
    }

    /// One signature short of a quorum is none.
    function testOneSignerAloneChangesNothing() public {
        bytes32 before = _state();
        delete attacks;
        ILedger.Appraisal memory a = machine(GPU);
        _plan(sign(_first(appraiserKeys, 1), typed(ledgerDomain(), hashOf(a))));
        for (uint256 i; i < attacks.length; ++i) {
            vm.prank(stranger);
            (bool done,) = attacks[i].target.call(attacks[i].data);
            assertEq(_state(), before, string.concat(attacks[i].name, done ? " succeeded" : " failed"));
        }
    }

    function testEveryFunctionIsTried() public view {
        _compare("Members", address(members));
        _compare("Ledger", address(ledger));
        _compare("Access", address(access));
        _compare("Meter", address(meter));
    }

    function testNoFunctionTakesEther() public {
        vm.deal(stranger, 4);
        address[4] memory targets = [address(members), address(ledger), address(access), address(meter)];
        for (uint256 i; i < 4; ++i) {
            vm.prank(stranger);
            (bool done,) = targets[i].call{value: 1}("");
            assertFalse(done);
        }
    }

    function _plan(Signature[] memory quorum) private {
        address m = address(members);
        _add(m, "admit", abi.encodeCall(members.admit, (IMembers.Admission(stranger, "n", UNTIL, DEADLINE), quorum)));
        _add(m, "renew", abi.encodeCall(members.renew, (IMembers.Renewal(provider, UNTIL, DEADLINE), quorum)));
        IMembers.Attachment memory at_ = IMembers.Attachment(provider, developer, 0, DEADLINE);
        _add(m, "attach", abi.encodeCall(members.attach, (at_, "", "")));
        _add(m, "find", abi.encodeCall(members.find, (IMembers.Finding(provider, affiliate, "e", DEADLINE), quorum)));

        address l = address(ledger);
        ILedger.Appraisal memory a = machine(GPU);
        _add(l, "register", abi.encodeCall(ledger.register, (a, quorum, oneShare(affiliate, GPU), "")));
        _add(l, "renew", abi.encodeCall(ledger.renew, (asset, a, quorum)));
        _add(l, "merge", abi.encodeCall(ledger.merge, (provider, developer)));
        _addToken(l, asset, provider);

        address c = address(access);
        uint32 window = access.currentWindow();
        _add(c, "open", abi.encodeCall(access.open, (asset, window, 9, 1)));
        _add(c, "grant", abi.encodeCall(access.grant, (id, affiliate, 1)));
        _add(c, "buy", abi.encodeCall(access.buy, (id, 1, 3)));
        _add(c, "buyWithPermit", abi.encodeCall(access.buyWithPermit, (id, 1, 3, DEADLINE, 27, "", "")));
        IAccess.Redemption memory r = redemption(developer, id, 1);
        _add(c, "redeem", abi.encodeCall(access.redeem, (r)));
        _add(c, "redeemFor", abi.encodeCall(access.redeemFor, (r, "")));
        _add(c, "release", abi.encodeCall(access.release, (lease, 1_000)));
        _add(c, "merge", abi.encodeCall(access.merge, (provider, developer)));
        _addToken(c, id, developer);

        IMeter.SignedReceipt memory s = signed(IMeter.Receipt(lease, 1_000, "h"), 0x33, 0x33);
        _add(address(meter), "settle", abi.encodeCall(meter.settle, (batch(s))));
        _add(address(meter), "anchor", abi.encodeCall(meter.anchor, (0, "root", 1, 0, "")));
    }

    function _addToken(address target, uint256 token, address holder) private {
        _add(target, "transfer", abi.encodeCall(IERC6909.transfer, (affiliate, token, 1)));
        _add(target, "transferFrom", abi.encodeCall(IERC6909.transferFrom, (holder, affiliate, token, 1)));
        _add(target, "approve", abi.encodeCall(IERC6909.approve, (affiliate, token, 1)));
        _add(target, "setOperator", abi.encodeCall(IERC6909.setOperator, (affiliate, true)));
    }

    function _add(address target, string memory name, bytes memory data) private {
        attacks.push(Attack(target, name, data));
    }

    function _compare(string memory name, address target) private view {
        string memory json = vm.readFile(string.concat("../service/commonhold/chain/abi/", name, ".json"));
        uint256 found;
        for (uint256 i; vm.keyExistsJson(json, _at(i, "type")); ++i) {
            if (!vm.keyExistsJson(json, _at(i, "stateMutability"))) continue; // an error or an event
            if (!vm.keyExistsJson(json, _at(i, "name"))) continue; // the constructor
            bytes32 mutability = keccak256(bytes(vm.parseJsonString(json, _at(i, "stateMutability"))));
            if (mutability == keccak256("view") || mutability == keccak256("pure")) continue;

            ++found;
            string memory tried = vm.parseJsonString(json, _at(i, "name"));
            assertTrue(_isPlanned(target, tried), string.concat(name, ".", tried, " is not tried"));
        }
        assertGt(found, 0);
    }

    function _at(uint256 i, string memory key) private pure returns (string memory) {
        return string.concat(".abi[", vm.toString(i), "].", key);
    }

    function _isPlanned(address target, string memory name) private view returns (bool) {
        for (uint256 i; i < attacks.length; ++i) {
            if (attacks[i].target == target && keccak256(bytes(attacks[i].name)) == keccak256(bytes(name))) {
                return true;
            }
        }
        return false;
    }

    /// All that belongs to somebody, and who belongs to whom.
    function _state() private view returns (bytes32) {
        uint32 window = access.currentWindow();
        address[4] memory people = [provider, developer, affiliate, stranger];
        bytes32 state = keccak256(
            abi.encode(
                ledger.classOf(GPUS),
                ledger.assetOf(asset),
                ledger.balanceOf(address(ledger), asset),
                access.issued(asset, window),
                access.leaseOf(lease),
                meter.settledMs(lease),
                coin.balanceOf(address(access))
            )
        );
        for (uint256 i; i < people.length; ++i) {
            state = keccak256(abi.encode(state, _membership(people[i]), _belongings(people[i], window)));
        }
        return state;
    }

    function _membership(address who) private view returns (bytes32) {
        (address controller, uint48 since, uint48 until) = members.memberOf(who);
        return keccak256(abi.encode(controller, since, until, ledger.heldBy(GPUS, who), coin.balanceOf(who)));
    }

    function _belongings(address who, uint32 window) private view returns (bytes32) {
        uint256 acquired = access.acquiredBy(GPUS, window, who);
        uint256 redeemed = access.redeemedBy(GPUS, window, who);
        return keccak256(abi.encode(ledger.balanceOf(who, asset), access.balanceOf(who, id), acquired, redeemed));
    }
}
